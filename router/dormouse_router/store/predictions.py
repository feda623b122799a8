"""Predictions in a database: `predicting.Predictions`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, func, literal, select, tuple_, update

from dormouse_router.notifying import Delivery
from dormouse_router.predicting import ENDED, Place, StoredPrediction, fitting, too_many
from dormouse_router.store import outbox
from dormouse_router.store.database import Database
from dormouse_router.store.files import is_ours
from dormouse_router.store.tables import predictions

_COLUMNS = predictions.c
_UNHELD = 0.0


class SqlPredictions:
    """Each method is one transaction, but for `claim`, which writes only where a look found something."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database, self._clock = database, clock

    async def add(self, prediction: StoredPrediction, holder: str | None, until: float, most: int) -> None:
        unfinished = and_(_COLUMNS.owner == prediction.owner, _COLUMNS.lease_until.is_not(None))
        counted = select(func.count()).select_from(predictions).where(unfinished)
        lease = {"holder": holder, "lease_until": _UNHELD if holder is None else until}
        async with self._database.writing(durable=True) as connection:
            if (await connection.execute(counted)).scalar_one() >= most:
                raise too_many(most)
            await connection.execute(predictions.insert().values(asdict(prediction) | lease))

    async def get(self, id: str, owner: str) -> StoredPrediction | None:  # noqa: A002
        if not is_ours(id):
            return None
        which = and_(_COLUMNS.id == id, _COLUMNS.owner == owner, _COLUMNS.expires_at > self._clock())
        async with self._database.reading() as connection:
            row = (await connection.execute(select(predictions).where(which))).first()
        return None if row is None else _stored(row)

    async def page(self, owner: str, before: Place | None, limit: int) -> tuple[list[StoredPrediction], bool]:
        wanted = select(_COLUMNS.id, func.length(_COLUMNS.body).label("size"))
        wanted = wanted.where(_COLUMNS.owner == owner, _COLUMNS.expires_at > self._clock())
        if before is not None:
            there = tuple_(literal(before[0]), literal(before[1]))
            wanted = wanted.where(tuple_(_COLUMNS.created_at, _COLUMNS.id) < there)
        order = (_COLUMNS.created_at.desc(), _COLUMNS.id.desc())
        async with self._database.reading() as connection:
            found = (await connection.execute(wanted.order_by(*order).limit(limit + 1))).all()
            shown = [row.id for row in found[: fitting(row.size for row in found[:limit])]]
            rows = await connection.execute(select(predictions).where(_COLUMNS.id.in_(shown)).order_by(*order))
            return [_stored(row) for row in rows], len(shown) < len(found)

    async def claim(self, holder: str, now: float, until: float, most: int) -> list[StoredPrediction]:
        free = _COLUMNS.lease_until <= now
        async with self._database.reading() as connection:
            if (await connection.execute(select(_COLUMNS.id).where(free).limit(1))).first() is None:
                return []
        wanted = select(predictions).where(free).order_by(_COLUMNS.created_at).limit(most)
        async with self._database.writing() as connection:
            rows = (await connection.execute(wanted.with_for_update(skip_locked=True))).all()
            values = {"holder": holder, "lease_until": until, "token": _COLUMNS.token + 1}
            mine = _COLUMNS.id.in_([row.id for row in rows])
            await connection.execute(update(predictions).where(mine).values(values))
        return [replace(_stored(row), token=row.token + 1) for row in rows]

    async def renew(self, holder: str, until: float) -> dict[str, int]:
        mine = and_(_COLUMNS.holder == holder, _COLUMNS.lease_until.is_not(None))
        renewed = update(predictions).where(mine).values(lease_until=until).returning(_COLUMNS.id, _COLUMNS.token)
        async with self._database.writing() as connection:
            return {row.id: row.token for row in await connection.execute(renewed)}

    async def keep(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        return await self._put(prediction, deliveries, _COLUMNS.token == prediction.token)

    async def end(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        return await self._put(prediction, deliveries, _COLUMNS.owner == prediction.owner)

    async def release(self, holder: str) -> None:
        mine = and_(_COLUMNS.holder == holder, _COLUMNS.lease_until.is_not(None))
        async with self._database.writing() as connection:
            await connection.execute(update(predictions).where(mine).values(holder=None, lease_until=_UNHELD))

    async def _put(
        self, prediction: StoredPrediction, deliveries: Sequence[Delivery], which: ColumnElement[bool]
    ) -> bool:
        values: dict[str, Any] = {"status": prediction.status, "body": prediction.body}
        ended = prediction.status in ENDED
        if ended:
            values |= {"holder": None, "lease_until": None}
        there = and_(_COLUMNS.id == prediction.id, _COLUMNS.lease_until.is_not(None), which)
        async with self._database.writing(durable=ended) as connection:
            done = await connection.execute(update(predictions).where(there).values(values))
            if done.rowcount:
                await outbox.post(connection, deliveries)
        return done.rowcount > 0


def _stored(row: Row[Any]) -> StoredPrediction:
    return StoredPrediction(
        row.id, row.owner, row.created_at, row.status, row.body, row.wish, row.expires_at, row.token
    )
