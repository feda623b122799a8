"""Batches in a database, as whoever works on them needs them: `batch.rows.WorkRows`. See `batching` for what holds.

Locks are taken in one order, a batch before its chunks and those by their numbers, so that nobody waits for each other.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, delete, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.batch import chunking, lifecycle
from dormouse_router.batch.forecast import Unended
from dormouse_router.batch.lifecycle import LineError, Status
from dormouse_router.batch.rota import OpenModel
from dormouse_router.batch.rows import Piece, Segment
from dormouse_router.batching import (
    CANCEL_GRACE,
    WINDOW_GRACE,
    BatchLimits,
    Chunk,
    ChunkKey,
    Duty,
    Planned,
    Renewed,
    Task,
)
from dormouse_router.filing import FileRecord
from dormouse_router.store.accepting import enqueue, too_much
from dormouse_router.store.batchrow import B, batch_of, changed, locked
from dormouse_router.store.database import Database
from dormouse_router.store.ending import ended, forget
from dormouse_router.store.tables import batch_chunks, batch_segments, batch_workers, batches
from dormouse_router.store.upsert import upsert

_C, _S = batch_chunks.c, batch_segments.c
_WORKED_ON = (Status.IN_PROGRESS, Status.CANCELLING)


class SqlWorkRows:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, holder: str, until: float) -> None:
        values = {"holder": holder, "expires_at": until}
        async with self._database.writing() as connection:
            await connection.execute(upsert(connection, batch_workers, values, {"expires_at": until}))

    async def renew(self, holder: str, chunks: Collection[ChunkKey], duties: Collection[Duty], until: float) -> Renewed:
        named = and_(_C.holder == holder, tuple_(_C.batch_id, _C.number, _C.token).in_([tuple(key) for key in chunks]))
        tasks = and_(B.holder == holder, tuple_(B.id, B.token).in_([(duty.batch.id, duty.token) for duty in duties]))
        ours = {duty.batch.id for duty in duties}
        stopped = select(B.id).where(B.id.in_({key.batch_id for key in chunks}), B.status == Status.CANCELLING)
        async with self._database.writing() as connection:
            kept = set((await connection.execute(select(B.id).where(tasks).order_by(B.id).with_for_update())).scalars())
            await connection.execute(update(batches).where(tasks).values(until=until))
            wanted = select(_C.batch_id, _C.number, _C.token).where(named).order_by(_C.batch_id, _C.number)
            held = {ChunkKey(*row) for row in await connection.execute(wanted.with_for_update())}
            await connection.execute(update(batch_chunks).where(named).values(until=until))
            cancelling = frozenset((await connection.execute(stopped)).scalars())
        return Renewed(frozenset(chunks) - held, frozenset(ours - kept), cancelling)

    # ------------------------------------------------------------------ duties

    async def take(self, holder: str, now: float, until: float) -> Duty | None:
        async with self._database.writing() as connection:
            row = (await connection.execute(_due(now))).first()
            if row is None:
                return None
            batch = batch_of(row)
            values: dict[str, Any] = {"holder": holder, "until": until, "token": row.token + 1}
            task = Task.VALIDATE if batch.status is Status.VALIDATING else Task.FINISH
            if task is Task.FINISH:
                if batch.status is Status.IN_PROGRESS:
                    batch = lifecycle.finalizing(batch, now)
                await _seal(connection, batch.id)
                values["sealed"] = True
            await connection.execute(changed(batch, **values))
        ids = (row.made_output_id, row.made_error_id)
        return Duty(task, batch, holder, row.token + 1, row.input_bytes, *ids)

    async def drop(self, duty: Duty, until: float) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(batches).where(*_held(duty)).values(holder=None, until=until))

    async def accept(self, duty: Duty, chunks: Sequence[Planned], now: float, limits: BatchLimits) -> Sequence[str]:
        models: dict[str, int] = {}
        for chunk in chunks:
            models[chunk.model] = models.get(chunk.model, 0) + chunk.count
        async with self._database.writing(durable=True) as connection:
            row = await locked(connection, *_held(duty), B.status == Status.VALIDATING)
            if row is None:
                await connection.execute(update(batches).where(*_held(duty)).values(holder=None, until=0.0))
                return []
            batch = batch_of(row)
            mosts = [most for most in (limits.tokens or None, batch.rights.enqueued) if most is not None]
            if mosts and (over := await too_much(connection, batch.owner, chunks, min(mosts))):
                return over
            batch = lifecycle.accepted(batch, sum(models.values()), tuple(models), now)
            await enqueue(connection, batch, chunks, models)
        return []

    async def refuse(self, duty: Duty, errors: tuple[LineError, ...], now: float, limits: BatchLimits) -> list[str]:
        async with self._database.writing(durable=True) as connection:
            row = await locked(connection, *_held(duty), B.status == Status.VALIDATING)
            if row is None:
                await connection.execute(update(batches).where(*_held(duty)).values(holder=None, until=0.0))
                return []
            return await ended(connection, lifecycle.refused(batch_of(row), errors, now), now + limits.remembered)

    async def segments(self, id: str) -> list[Piece]:  # noqa: A002 - as the API calls it
        wanted = select(_S.id, _S.output_bytes, _S.error_bytes).where(_S.batch_id == id).order_by(_S.id)
        async with self._database.reading() as connection:
            return [Piece(*row) for row in await connection.execute(wanted)]

    async def unanswered(self, id: str) -> set[int]:  # noqa: A002
        async with self._database.reading() as connection:
            rows = (await connection.execute(select(_C.lines, _C.done).where(_C.batch_id == id))).all()
        return {line.number for lines, done in rows for line in chunking.lines(lines, done)}

    async def finish(
        self, duty: Duty, output: FileRecord | None, error: FileRecord | None, now: float, limits: BatchLimits
    ) -> list[str] | None:
        async with self._database.writing(durable=True) as connection:
            row = await locked(connection, *_held(duty), B.sealed)
            if row is None:
                return None
            made = [file for file in (output, error) if file is not None]
            names = [None if file is None else file.id for file in (output, error)]
            batch = lifecycle.ended(batch_of(row), names[0], names[1], now)
            gone = await forget(connection, batch.id)
            return gone + await ended(connection, batch, now + limits.remembered, made)

    # ------------------------------------------------------------------ chunks

    async def open_models(self, holder: str, now: float) -> list[OpenModel]:
        others = case((and_(_C.holder.is_not(None), _C.holder != holder, _C.until > now), 1), else_=0)
        running = and_(B.status == Status.IN_PROGRESS, B.window_ends > now)
        wanted = select(_C.model, func.max(others), func.sum(_C.open))
        found = wanted.join(batches, B.id == _C.batch_id).where(running).group_by(_C.model)
        async with self._database.reading() as connection:
            rows = (await connection.execute(found.order_by(_C.model))).all()
        return [OpenModel(model, bool(held), int(lines)) for model, held, lines in rows]

    async def unended(self) -> list[Unended]:
        wanted = select(B.id, B.status, B.window_ends, B.total - B.completed - B.failed, B.completed + B.failed)
        async with self._database.reading() as connection:
            rows = await connection.execute(wanted.where(B.status.not_in(lifecycle.ENDED)).order_by(B.created_at, B.id))
            return [Unended(*row) for row in rows]

    async def claim(
        self, holder: str, now: float, until: float, prefer: Sequence[str], avoid: Collection[str]
    ) -> Chunk | None:
        async with self._database.writing() as connection:
            key = (await connection.execute(_open(now, prefer, avoid))).first()
            if key is None:
                return None
            this = and_(_C.batch_id == key.batch_id, _C.number == key.number)
            found = (await connection.execute(select(batch_chunks).where(this))).one()
            row = (await connection.execute(select(batches).where(B.id == key.batch_id))).one()
            token = found.token + 1
            await connection.execute(update(batch_chunks).where(this).values(holder=holder, until=until, token=token))
        lines = tuple(chunking.lines(found.lines, found.done))
        return Chunk(batch_of(row), found.number, found.model, lines, holder, token)

    async def flush(self, chunk: Chunk, segment: Segment) -> bool:
        async with self._database.writing(durable=True) as connection:
            worked_on = (B.id == chunk.batch.id, B.sealed.is_(False), B.status.in_(_WORKED_ON))
            row = await locked(connection, *worked_on)
            held = select(_C.done, _C.open).where(*_claimed(chunk)).with_for_update()
            left = (await connection.execute(held)).first() if row is not None else None
            done = chunking.marked(left.done, segment.places) if left is not None else None
            if row is None or left is None or done is None:
                return False
            batch = lifecycle.answered(batch_of(row), segment.completed, segment.failed, segment.usage)
            await connection.execute(changed(batch, waited=row.waited + segment.waited))
            sizes = {"output_bytes": segment.output_bytes, "error_bytes": segment.error_bytes}
            await connection.execute(batch_segments.insert().values(id=segment.id, batch_id=batch.id, **sizes))
            still_open = left.open - len(segment.places)
            more = update(batch_chunks).values(done=done, open=still_open) if still_open else delete(batch_chunks)
            await connection.execute(more.where(*_claimed(chunk)))
        return True

    async def release(self, chunk: Chunk, until: float) -> None:
        async with self._database.writing() as connection:
            await connection.execute(update(batch_chunks).where(*_claimed(chunk)).values(holder=None, until=until))


def _held(duty: Duty) -> tuple[ColumnElement[bool], ...]:
    return B.id == duty.batch.id, B.holder == duty.holder, B.token == duty.token


def _claimed(chunk: Chunk) -> tuple[ColumnElement[bool], ...]:
    this = (_C.batch_id == chunk.batch.id, _C.number == chunk.number)
    return *this, _C.holder == chunk.holder, _C.token == chunk.token


def _due(now: float) -> Select[Any]:
    """The batch whose duty is to be done next."""
    of_it = select(_C.number).where(_C.batch_id == B.id)
    anything, under_way = of_it.exists(), of_it.where(_C.holder.is_not(None), _C.until > now).exists()
    late = and_(B.window_ends <= now, or_(~under_way, B.window_ends <= now - WINDOW_GRACE))
    wanted = or_(
        B.status.in_((Status.VALIDATING, Status.FINALIZING)),
        and_(B.status == Status.IN_PROGRESS, or_(~anything, late)),
        and_(B.status == Status.CANCELLING, or_(~under_way, B.cancelling_at <= now - CANCEL_GRACE)),
    )
    order = (case((B.status == Status.VALIDATING, 1), else_=0), B.created_at, B.id)
    free = select(batches).where(B.until <= now, wanted).order_by(*order).limit(1)
    return free.with_for_update(skip_locked=True, of=batches)


def _open(now: float, prefer: Sequence[str], avoid: Iterable[str]) -> Select[Any]:
    """The chunk to claim next, by its key: tables of lines are not to be sorted."""
    running = and_(B.status == Status.IN_PROGRESS, B.window_ends > now)
    free = select(_C.batch_id, _C.number).join(batches, B.id == _C.batch_id).where(running, _C.until <= now)
    order: list[ColumnElement[Any]] = [B.created_at, B.id, _C.number]
    if avoid:
        free = free.where(_C.model.not_in(list(avoid)))
    if prefer:
        places = {model: place for place, model in enumerate(prefer)}
        order.insert(0, case(places, value=_C.model, else_=len(places)))
    return free.order_by(*order).limit(1).with_for_update(skip_locked=True, of=batch_chunks)


async def _seal(connection: AsyncConnection, ident: str) -> None:
    """No holder's answers are taken any more."""
    mine = _C.batch_id == ident
    await connection.execute(select(_C.number).where(mine).order_by(_C.number).with_for_update())
    await connection.execute(update(batch_chunks).where(mine).values(holder=None, token=_C.token + 1))
