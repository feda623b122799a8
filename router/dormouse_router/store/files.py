"""What is known of files, in a database: `filing.FileRows`. Knows no blob but by its name."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, func, literal, or_, select, text, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.filing import PENDING, FileRecord, Quota, Usage
from dormouse_router.store.database import Database
from dormouse_router.store.tables import batch_segments, batches, file_pins, files, upload_parts, uploads

_FILE = files.c
_LOCK = 0x646F7266696C6573
"""PostgreSQL's advisory lock of who adds: the quota is looked at and used up by one after the other."""


class SqlFileRows:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: FileRecord, quota: Quota) -> None:
        async with self._database.writing(durable=True) as connection:
            await make_room(connection, record.owner, record.bytes, quota, record.created_at)
            await connection.execute(files.insert().values(asdict(record)))

    async def usage(self, owner: str, now: float) -> Usage:
        async with self._database.reading() as connection:
            return await _usage(connection, owner, now)

    async def get(self, id: str, owner: str, now: float) -> FileRecord | None:  # noqa: A002
        if not is_ours(id):
            return None
        async with self._database.reading() as connection:
            return await _found(connection, _visible(id, owner, now))

    async def page(
        self, owner: str, now: float, purpose: str | None, after: str | None, limit: int, *, newest_first: bool
    ) -> list[FileRecord] | None:
        place = tuple_(_FILE.created_at, _FILE.id)
        wanted = select(files).where(_FILE.owner == owner, _live(now))
        if purpose is not None:
            wanted = wanted.where(_FILE.purpose == purpose)
        columns = (_FILE.created_at, _FILE.id)
        wanted = wanted.order_by(*(c.desc() if newest_first else c.asc() for c in columns)).limit(limit)
        async with self._database.reading() as connection:
            if after is not None:
                last = await _found(connection, _visible(after, owner, now)) if is_ours(after) else None
                if last is None:
                    return None
                there = tuple_(literal(last.created_at), literal(last.id))
                wanted = wanted.where(place < there if newest_first else place > there)
            return [_record(row) for row in await connection.execute(wanted)]

    async def remove(self, id: str, owner: str, now: float) -> bool | None:  # noqa: A002
        if not is_ours(id):
            return None
        async with self._database.writing() as connection:
            done = await connection.execute(delete(files).where(_visible(id, owner, now)))
            if not done.rowcount:
                return None
            return bool(await _pinned(connection, [id]))

    async def pin(self, id: str, owner: str, by: str, now: float) -> FileRecord | None:  # noqa: A002
        if not is_ours(id):
            return None
        async with self._database.writing() as connection:
            return await pinned_file(connection, id, owner, by, now)

    async def unpin(self, by: str) -> list[str]:
        async with self._database.writing() as connection:
            return await unpinned(connection, by)

    async def expire(self, now: float, most: int) -> list[str]:
        async with self._database.writing() as connection:
            due = select(_FILE.id).where(_FILE.expires_at <= now).limit(most).with_for_update(skip_locked=True)
            gone = list((await connection.execute(due)).scalars())
            await connection.execute(delete(files).where(_FILE.id.in_(gone)))
            ended = select(uploads.c.id).where(uploads.c.expires_at <= now).limit(most)
            old = list((await connection.execute(ended.with_for_update(skip_locked=True))).scalars())
            parts = select(upload_parts.c.id).where(upload_parts.c.upload_id.in_(old))
            gone += (await connection.execute(parts)).scalars()
            await connection.execute(delete(uploads).where(uploads.c.id.in_(old)))
            pinned = await _pinned(connection, gone)
        return [blob for blob in gone if blob not in pinned]

    async def needed(self, blobs: Collection[str]) -> set[str]:
        async with self._database.reading() as connection:
            return await _needed(connection, list(blobs))


async def pinned_file(connection: AsyncConnection, ident: str, owner: str, by: str, now: float) -> FileRecord | None:
    """The file, with a pin by `by`; None where it is not there."""
    # whoever deletes it waits for this, and then sees the pin
    record = await _found(connection, _visible(ident, owner, now), lock=True)
    if record is not None:
        there = file_pins.select().where(file_pins.c.by == by, file_pins.c.file_id == ident)
        if (await connection.execute(there)).first() is None:
            await connection.execute(file_pins.insert().values(by=by, file_id=ident))
    return record


async def unpinned(connection: AsyncConnection, by: str) -> list[str]:
    """The pins of `by` are gone; the blobs that nobody needs any more."""
    mine = file_pins.c.by == by
    held = list((await connection.execute(select(file_pins.c.file_id).where(mine))).scalars())
    await connection.execute(delete(file_pins).where(mine))
    needed = await _needed(connection, held)
    return [blob for blob in held if blob not in needed]


async def make_room(connection: AsyncConnection, owner: str, more: int, quota: Quota, now: float) -> None:
    """Refusal where a file of `more` bytes does not fit; until the transaction ends, nobody else adds any."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    (await _usage(connection, owner, now)).check(quota, more)


def is_ours(ident: str) -> bool:
    """Whether it may be an id of ours: clients send any text, and a database does not take all of it."""
    return ident.isascii() and ident.isprintable()


async def _usage(connection: AsyncConnection, owner: str, now: float) -> Usage:
    pending = and_(uploads.c.status == PENDING, uploads.c.ends_at > now)
    each = union_all(
        select(_FILE.owner.label("owner"), _FILE.bytes.label("bytes")).where(_live(now)),
        select(uploads.c.owner, uploads.c.bytes).where(pending),
    ).subquery()
    size = func.coalesce(func.sum(each.c.bytes), 0)
    mine = (await connection.execute(select(size, func.count()).where(each.c.owner == owner))).one()
    total = (await connection.execute(select(size))).scalar_one()
    return Usage(int(mine[0]), int(mine[1]), int(total))


async def _found(connection: AsyncConnection, which: ColumnElement[bool], *, lock: bool = False) -> FileRecord | None:
    wanted = select(files).where(which)
    row = (await connection.execute(wanted.with_for_update() if lock else wanted)).first()
    return None if row is None else _record(row)


async def _pinned(connection: AsyncConnection, blobs: Sequence[str]) -> set[str]:
    wanted = select(file_pins.c.file_id).where(file_pins.c.file_id.in_(blobs))
    return set((await connection.execute(wanted)).scalars())


async def _needed(connection: AsyncConnection, blobs: Sequence[str]) -> set[str]:
    names = await _pinned(connection, blobs)
    for column in (_FILE.id, upload_parts.c.id, batch_segments.c.id, batches.c.made_output_id, batches.c.made_error_id):
        names |= set((await connection.execute(select(column).where(column.in_(blobs)))).scalars())
    return names


def _live(now: float) -> ColumnElement[bool]:
    return or_(_FILE.expires_at.is_(None), _FILE.expires_at > now)


def _visible(ident: str, owner: str, now: float) -> ColumnElement[bool]:
    return and_(_FILE.id == ident, _FILE.owner == owner, _live(now))


def _record(row: Row[Any]) -> FileRecord:
    said = (row.id, row.owner, row.filename, row.purpose)
    return FileRecord(*said, row.bytes, row.sha256, row.created_at, row.expires_at)
