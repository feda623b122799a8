"""A validated batch's chunks become rows, if its owner may have so much enqueued. Within the caller's transaction."""

from collections.abc import Sequence

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.batch.chunking import nothing_done
from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batching import Planned
from dormouse_router.store.batchrow import B, changed, models_as
from dormouse_router.store.tables import batch_chunks, batches

_C = batch_chunks.c
_LOCK = 0x646F726D71756575
"""PostgreSQL's advisory lock of who enqueues."""


async def too_much(connection: AsyncConnection, owner: str, chunks: Sequence[Planned], most: int) -> list[str]:
    """The models of which the owner would have more than `most` tokens enqueued."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    wanted: dict[str, int] = {}
    for chunk in chunks:
        wanted[chunk.model] = wanted.get(chunk.model, 0) + chunk.tokens
    waiting = select(_C.model, func.sum(_C.tokens)).join(batches, B.id == _C.batch_id)
    each = waiting.where(B.owner == owner, _C.model.in_(wanted)).group_by(_C.model)
    there = {model: int(tokens) for model, tokens in await connection.execute(each)}
    return [model for model, tokens in wanted.items() if tokens + there.get(model, 0) > most]


async def enqueue(connection: AsyncConnection, batch: Batch, chunks: Sequence[Planned], models: dict[str, int]) -> None:
    """From now on they may be claimed."""
    rows = [
        {
            "batch_id": batch.id,
            "number": number,
            "model": chunk.model,
            "lines": chunk.lines,
            "done": nothing_done(chunk.count),
            "open": chunk.count,
            "tokens": chunk.tokens,
            "until": 0.0,
            "token": 0,
        }
        for number, chunk in enumerate(chunks)
    ]
    await connection.execute(batch_chunks.insert(), rows)
    await connection.execute(changed(batch, models=models_as(models), holder=None, until=0.0))
