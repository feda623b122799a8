"""Totals of what calls used, in a database: `accounting.entries.Usage`. Several routers add to the same rows."""

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from dormouse_router.accounting.entries import Key, Total, Wanted
from dormouse_router.store.database import Database
from dormouse_router.store.tables import usage
from dormouse_router.store.upsert import inserting

KEPT_DAYS = 400
AT_ONCE = 500
"""Rows of a statement: SQLite takes 32,766 values."""
_ADDED = [field.name for field in fields(Total)]


class SqlUsage:
    """Adds in one transaction: what could not be added is added again, whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, totals: Mapping[Key, Total]) -> None:
        # in one order, so that two routers never wait for each other
        rows = sorted((_row(key, total) for key, total in totals.items()), key=lambda row: str(row["id"]))
        async with self._database.writing() as connection:
            insert = inserting(connection, usage)
            for start in range(0, len(rows), AT_ONCE):
                made = insert.values(rows[start : start + AT_ONCE])
                grown = {name: usage.c[name] + made.excluded[name] for name in _ADDED}
                await connection.execute(made.on_conflict_do_update(index_elements=[usage.c.id], set_=grown))

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


def _row(key: Key, total: Total) -> dict[str, object]:
    gone = datetime.strptime(key.day, "%Y-%m-%d").replace(tzinfo=UTC) + timedelta(days=KEPT_DAYS)
    return {
        # names may hold any character: a hash of all of them is one for each
        "id": f"{key.day}/{hashlib.sha256(chr(0).join(key).encode()).hexdigest()[:32]}",
        **key._asdict(),
        **dict(zip(_ADDED, astuple(total), strict=True)),
        "expires_at": gone.timestamp(),
    }
