"""Webhooks in a database: `notifying.Webhooks`."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Row, and_, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.notifying import Delivery, Event, Keys, new_secret
from dormouse_router.store import outbox
from dormouse_router.store.database import Database
from dormouse_router.store.tables import webhook_deliveries, webhook_events, webhook_secrets
from dormouse_router.store.upsert import upsert

_OWED, _EVENT, _SECRET = webhook_deliveries.c, webhook_events.c, webhook_secrets.c
_NONE = msgspec.json.encode([])
_retiring = msgspec.json.Decoder(tuple[tuple[str, float], ...]).decode


class SqlWebhooks:
    """Each method is one transaction, but for `claim`, which writes only where a look found something."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def post(self, deliveries: Sequence[Delivery]) -> None:
        async with self._database.writing(durable=True) as connection:
            await outbox.post(connection, deliveries)

    async def announce(self, event: Event) -> None:
        async with self._database.writing(durable=True) as connection:
            await outbox.announce(connection, event)

    async def spread(self, addressed: Callable[[Event], Sequence[Delivery]], most: int) -> int:
        first = select(webhook_events).order_by(_EVENT.created_at).limit(most)
        async with self._database.reading() as connection:
            if (await connection.execute(first)).first() is None:
                return 0
        async with self._database.writing(durable=True) as connection:
            rows = (await connection.execute(first.with_for_update(skip_locked=True))).all()
            events = [Event(row.kind, row.subject, row.created_at) for row in rows]
            await outbox.post(connection, [delivery for event in events for delivery in addressed(event)])
            await connection.execute(delete(webhook_events).where(_EVENT.id.in_([event.id for event in events])))
        return len(events)

    async def claim(
        self, now: float, until: float, most: int, hosts: Collection[str] = (), subjects: Collection[str] = ()
    ) -> list[Delivery]:
        due = and_(
            _OWED.due_at <= now,
            _OWED.expires_at > now,
            _OWED.host.not_in(list(hosts)),
            _OWED.subject.not_in(list(subjects)),
        )
        wanted = select(webhook_deliveries).where(due).order_by(_OWED.due_at, _OWED.created_at).limit(most)
        async with self._database.reading() as connection:
            if (await connection.execute(select(_OWED.id).where(due).limit(1))).first() is None:
                return []
        async with self._database.writing() as connection:
            rows = (await connection.execute(wanted.with_for_update(skip_locked=True))).all()
            mine = _OWED.id.in_([row.id for row in rows])
            begun = update(webhook_deliveries).where(mine).values(due_at=until, attempts=_OWED.attempts + 1)
            await connection.execute(begun)
        found = [Delivery(**row._mapping) for row in rows]
        return [replace(each, due_at=until, attempts=each.attempts + 1) for each in found]

    async def arrived(self, delivery: Delivery) -> None:
        async with self._database.writing() as connection:
            await connection.execute(delete(webhook_deliveries).where(*_still(delivery)))

    async def again(self, delivery: Delivery, at: float) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(webhook_deliveries).where(*_still(delivery)).values(due_at=at))

    async def keys(self, owner: str) -> Keys:
        found = select(webhook_secrets).where(_SECRET.owner == owner)
        async with self._database.reading() as connection:
            row = (await connection.execute(found)).first()
        if row is not None:
            return Keys(row.current, _retiring(row.retiring))
        async with self._database.writing(durable=True) as connection:
            # whoever comes second gets the first one's
            row = await _made(connection, owner)
            return Keys(row.current, _retiring(row.retiring))

    async def rotate(self, owner: str, until: float) -> Keys:
        async with self._database.writing(durable=True) as connection:
            row = await _made(connection, owner)
            keys = Keys(row.current, _retiring(row.retiring)).rotated(until)
            values = {"current": keys.current, "retiring": msgspec.json.encode(keys.retiring)}
            await connection.execute(update(webhook_secrets).where(_SECRET.owner == owner).values(values))
        return keys


async def _made(connection: AsyncConnection, owner: str) -> Row[Any]:
    """The owner's secrets, locked, and made where there were none."""
    values = {"owner": owner, "current": new_secret(), "retiring": _NONE}
    await connection.execute(upsert(connection, webhook_secrets, values, {"owner": owner}))
    found = select(webhook_secrets).where(_SECRET.owner == owner)
    return (await connection.execute(found.with_for_update())).one()


def _still(delivery: Delivery) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """It is there, and nobody tries it since."""
    return _OWED.id == delivery.id, _OWED.attempts == delivery.attempts
