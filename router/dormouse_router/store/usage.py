"""Totals of what calls used, in a database: `accounting.entries.Usage`. Several routers add to the same rows."""

import functools
import hashlib
import operator
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.sql import Executable

from dormouse_router.accounting.entries import Key, Total, Wanted
from dormouse_router.store.database import Database
from dormouse_router.store.tables import usage
from dormouse_router.store.upsert import inserting

KEPT_DAYS = 400
AT_ONCE = 500
"""Rows that are made at a time."""
_ADDED = [field.name for field in fields(Total)]
_amounts = operator.attrgetter(*_ADDED)


class SqlUsage:
    """Adds in one transaction: what could not be added is added again, whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, totals: Mapping[Key, Total]) -> None:
        # in one order, so that two routers never wait for each other
        order = sorted((_id(key), key) for key in totals)
        async with self._database.writing() as connection:
            statement = _adding(connection.dialect.name)
            for start in range(0, len(order), AT_ONCE):
                part = order[start : start + AT_ONCE]
                await connection.execute(statement, [_row(row, key, totals[key]) for row, key in part])

    async def read(self, wanted: Wanted) -> list[tuple[Key, Total]]:
        columns = [usage.c[name] for name in (*Key._fields, *_ADDED)]
        asked = select(*columns).where(usage.c.day >= wanted.since, usage.c.day <= wanted.until)
        if wanted.owner is not None:
            asked = asked.where(usage.c.owner == wanted.owner)
        if wanted.model is not None:
            asked = asked.where(usage.c.model == wanted.model)
        asked = asked.order_by(usage.c.day.desc(), usage.c.owner, usage.c.caller, usage.c.model).limit(wanted.limit)
        async with self._database.reading() as connection:
            rows = (await connection.execute(asked)).all()
        width = len(Key._fields)
        return [(Key(*row[:width]), Total(*row[width:])) for row in rows]


@functools.cache  # the statement of any number of rows: one made for these rows is put together anew each second
def _adding(dialect: str) -> Executable:
    made = inserting(dialect, usage)
    grown = {name: usage.c[name] + made.excluded[name] for name in _ADDED}
    return made.on_conflict_do_update(index_elements=[usage.c.id], set_=grown)


def _id(key: Key) -> str:
    """Names may hold any character: a hash of all of them is one for each."""
    return f"{key.day}/{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:32]}"


def _row(row: str, key: Key, total: Total) -> dict[str, object]:
    return {"id": row, "expires_at": _gone(key.day), **key._asdict(), **dict(zip(_ADDED, _amounts(total), strict=True))}


@functools.lru_cache(maxsize=8)
def _gone(day: str) -> float:
    return (datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=KEPT_DAYS)).timestamp()
