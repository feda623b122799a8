"""Batches in a database, as their owners see them: `batch.rows.BatchRows`."""

import hmac

from sqlalchemy import ColumnElement, and_, func, literal, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.batch import lifecycle
from dormouse_router.batch.lifecycle import Batch, LineError
from dormouse_router.batching import BatchLimits, ModelProgress, Progress, check_creates, check_input
from dormouse_router.filing import new_id
from dormouse_router.store.batchrow import B, batch_of, changed, changing, fixed, locked, models_as, models_of
from dormouse_router.store.batchrow import newest_first as page_of
from dormouse_router.store.database import Database
from dormouse_router.store.ending import tell
from dormouse_router.store.files import is_ours, pinned_file
from dormouse_router.store.tables import batch_chunks, batch_workers, batches

_C = batch_chunks.c
_LOCK = 0x646F726261746368
"""PostgreSQL's advisory lock of who creates: limits are looked at and used up by one after the other."""
HOUR = 3600.0


class SqlBatchRows:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, batch: Batch, now: float, limits: BatchLimits) -> Batch:
        async with self._database.writing(durable=True) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            there = (await connection.execute(select(batches).where(*_mine(batch.id, batch.owner)))).first()
            if there is not None:
                return batch_of(there)
            await _within_limits(connection, batch.owner, now, limits)
            ident = batch.input_file_id
            found = await pinned_file(connection, ident, batch.owner, batch.id, now) if is_ours(ident) else None
            forgotten = None
            if found is None:
                missing = LineError("invalid_request", f"Cannot find file {ident[:80]}.", None, "file_id")
                batch = lifecycle.refused(batch, (missing,), now)
                forgotten = now + limits.remembered
            else:
                check_input(found)
            values = {**fixed(batch), **changing(batch), "created_at": now, "models": models_as({}), "waited": 0.0}
            values |= {"made_output_id": new_id("file-"), "made_error_id": new_id("file-")} if found is not None else {}
            held = {"sealed": False, "until": 0.0, "token": 0, "expires_at": forgotten}
            size = 0 if found is None else found.bytes
            await connection.execute(batches.insert().values(**values, **held, input_bytes=size))
            if batch.ended:
                await tell(connection, batch)
        return batch

    async def get(self, id: str, owner: str) -> Batch | None:  # noqa: A002 - as the API calls it
        if not is_ours(id):
            return None
        async with self._database.reading() as connection:
            row = (await connection.execute(select(batches).where(*_mine(id, owner)))).first()
        return None if row is None else batch_of(row)

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None:
        wanted = page_of(owner, limit)
        async with self._database.reading() as connection:
            if after is not None:
                there = select(B.created_at, B.id).where(*_mine(after, owner))
                last = (await connection.execute(there)).first() if is_ours(after) else None
                if last is None:
                    return None
                wanted = wanted.where(tuple_(B.created_at, B.id) < tuple_(literal(last.created_at), literal(last.id)))
            return [batch_of(row) for row in await connection.execute(wanted)]

    async def cancel(self, id: str, owner: str, now: float) -> Batch | None:  # noqa: A002
        if not is_ours(id):
            return None
        async with self._database.writing(durable=True) as connection:
            row = await locked(connection, *_mine(id, owner))
            if row is None:
                return None
            before = batch_of(row)
            after = lifecycle.cancelling(before, now)
            if after != before:
                await connection.execute(changed(after))
        return after

    async def progress(self, id: str, now: float) -> Progress:  # noqa: A002
        held = func.sum(_C.open).filter(_C.until > now, _C.holder.is_not(None))
        each = select(_C.model, func.sum(_C.open), held).where(_C.batch_id == id).group_by(_C.model)
        async with self._database.reading() as connection:
            row = (await connection.execute(select(batches).where(B.id == id))).first()
            left = {model: (int(count), int(busy or 0)) for model, count, busy in await connection.execute(each)}
        if row is None:
            return Progress()
        models = [ModelProgress(name, total, *left.get(name, (0, 0))) for name, total in models_of(row)]
        return Progress(tuple(models), row.waited)

    async def attended(self, now: float, holder: str | None) -> bool:
        async with self._database.reading() as connection:
            return await _attended(connection, now, holder)

    async def waiting(self, now: float) -> int:
        unended = select(func.count()).where(B.status.not_in(lifecycle.ENDED))
        async with self._database.reading() as connection:
            if await _attended(connection, now):
                return 0
            return int((await connection.execute(unended)).scalar_one())


async def _attended(connection: AsyncConnection, now: float, holder: str | None = None) -> bool:
    alive = select(batch_workers.c.holder).where(batch_workers.c.expires_at > now)
    if holder is None:
        return (await connection.execute(alive.limit(1))).first() is not None
    # who knows a worker's name is one: of those of its pod, which nobody hides, it is compared here, in constant time
    pod = holder.partition("/")[0]
    same = await connection.execute(alive.where(batch_workers.c.holder.startswith(pod, autoescape=True)))
    return any(hmac.compare_digest(found.encode(), holder.encode()) for (found,) in same)


async def _within_limits(connection: AsyncConnection, owner: str, now: float, limits: BatchLimits) -> None:
    lately = and_(B.owner == owner, B.created_at > now - HOUR)
    found = select(func.count(), func.min(B.created_at)).where(lately)
    count, first = (await connection.execute(found)).one()
    check_creates(count, limits, 0.0 if first is None else first + HOUR - now)


def _mine(ident: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    return B.id == ident, B.owner == owner
