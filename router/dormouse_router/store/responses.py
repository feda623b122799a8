"""Answers of the Responses API in a database: `keeping.Responses`."""

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, literal, or_, select

from dormouse_router.keeping import MAX_CHAIN, StoredResponse
from dormouse_router.notifying import Event
from dormouse_router.store.database import Database
from dormouse_router.store.outbox import announce
from dormouse_router.store.tables import responses
from dormouse_router.store.upsert import upsert

_COLUMNS = responses.c


class SqlResponses:
    """Each method is one transaction."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def put(self, response: StoredResponse, event: Event | None = None) -> None:
        fields = asdict(response)
        async with self._database.writing(durable=event is not None) as connection:
            replaced = {name: value for name, value in fields.items() if name not in ("id", "owner")}
            mine = _COLUMNS.owner == response.owner
            await connection.execute(upsert(connection, responses, fields, replaced, mine))
            if event is not None:
                await announce(connection, event)

    async def get(self, id: str, owner: str) -> StoredResponse | None:  # noqa: A002
        if not _is_ours(id):
            return None
        async with self._database.reading() as connection:
            found = (await connection.execute(select(responses).where(self._visible(id, owner)))).first()
        return None if found is None else _stored(found)

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        if not _is_ours(id):
            return False
        async with self._database.writing() as connection:
            done = await connection.execute(delete(responses).where(self._visible(id, owner)))
        return done.rowcount > 0

    async def chain(self, id: str, owner: str) -> list[StoredResponse] | None:  # noqa: A002
        if not _is_ours(id):
            return None
        first = select(responses, literal(1).label("depth")).where(self._visible(id, owner))
        links = first.cte("links", recursive=True)
        older = responses.alias()
        links = links.union_all(
            select(older, links.c.depth + 1)
            .where(older.c.id == links.c.previous_id, links.c.depth < MAX_CHAIN)
            .where(older.c.owner == owner, or_(older.c.expires_at.is_(None), older.c.expires_at > self._clock()))
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(links).order_by(links.c.depth.desc()))).all()
        return [_stored(row) for row in rows] if rows and rows[0].previous_id is None else None

    def _visible(self, ident: str, owner: str) -> ColumnElement[bool]:
        live = or_(_COLUMNS.expires_at.is_(None), _COLUMNS.expires_at > self._clock())
        return and_(_COLUMNS.id == ident, _COLUMNS.owner == owner, live)


def _is_ours(ident: str) -> bool:
    """Whether it may be an id of ours: clients send any text, and a database does not take all of it."""
    return ident.isascii() and ident.isprintable()


def _stored(row: Row[Any]) -> StoredResponse:
    return StoredResponse(row.id, row.owner, row.previous_id, row.created_at, row.body, row.input_items, row.expires_at)
