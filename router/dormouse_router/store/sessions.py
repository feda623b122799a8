"""Histories of chats in a database: `keeping.Sessions`."""

import time
from collections.abc import Callable

from sqlalchemy import delete, insert, select

from dormouse_router.keeping import Message
from dormouse_router.store.database import Database
from dormouse_router.store.tables import messages as said
from dormouse_router.store.tables import sessions
from dormouse_router.store.turns import joined, parted, session_key
from dormouse_router.store.upsert import upsert


class SqlSessions:
    """Whoever adds a turn locks the session's row first, so that turns of two routers do not mix."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def history(self, owner: str, session: str) -> list[Message]:
        key = session_key(owner, session)
        live = select(sessions.c.system).where(sessions.c.key == key, sessions.c.expires_at > self._clock())
        bodies = select(said.c.body).where(said.c.key == key).order_by(said.c.id)
        async with self._database.reading() as connection:
            found = (await connection.execute(live)).first()
            if found is None:
                return []
            kept = (await connection.execute(bodies)).scalars().all()
        return joined(found.system, list(kept))

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        key, now = session_key(owner, session), self._clock()
        system, others = parted(messages)
        expires = {"expires_at": now + ttl}
        replaced = expires if system is None else {**expires, "system": system}
        async with self._database.writing() as connection:
            await connection.execute(delete(sessions).where(sessions.c.key == key, sessions.c.expires_at <= now))
            await connection.execute(upsert(connection, sessions, {"key": key, "system": system, **expires}, replaced))
            if others:
                await connection.execute(insert(said), [{"key": key, "body": body} for body in others])
            oldest = select(said.c.id).where(said.c.key == key).order_by(said.c.id.desc()).offset(keep).limit(1)
            await connection.execute(delete(said).where(said.c.key == key, said.c.id <= oldest.scalar_subquery()))

    async def delete(self, owner: str, session: str) -> bool:
        key = session_key(owner, session)
        async with self._database.writing() as connection:
            gone = delete(sessions).where(sessions.c.key == key).returning(sessions.c.expires_at)
            found = (await connection.execute(gone)).first()
        return found is not None and found.expires_at > self._clock()
