"""A batch's end, within the caller's transaction: its files appear, what it was made of goes, and it is announced."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from dormouse_router.batch.lifecycle import Batch
from dormouse_router.filing import FileRecord
from dormouse_router.notifying import Event
from dormouse_router.store.batchrow import changed
from dormouse_router.store.files import unpinned
from dormouse_router.store.outbox import announce
from dormouse_router.store.tables import batch_chunks, batch_segments, files


async def forget(connection: AsyncConnection, ident: str) -> list[str]:
    """Its chunks and segments are gone; the segments' blobs."""
    mine = batch_segments.c.batch_id == ident
    gone = list((await connection.execute(select(batch_segments.c.id).where(mine))).scalars())
    await connection.execute(delete(batch_segments).where(mine))
    await connection.execute(delete(batch_chunks).where(batch_chunks.c.batch_id == ident))
    return gone


async def ended(
    connection: AsyncConnection, batch: Batch, forgotten_at: float, made: Sequence[FileRecord] = ()
) -> list[str]:
    """It is what it will stay, and its files are there; the blobs that nobody needs any more."""
    if made:
        await connection.execute(files.insert(), [asdict(file) for file in made])
    over = {"holder": None, "until": 0.0, "expires_at": forgotten_at, "made_output_id": None, "made_error_id": None}
    await connection.execute(changed(batch, **over))
    await tell(connection, batch)
    return await unpinned(connection, batch.id)


async def tell(connection: AsyncConnection, batch: Batch) -> None:
    """Whoever waits for ends is told of this one."""
    await announce(connection, Event(f"batch.{batch.status}", batch.id, float(batch.ended_at or batch.created_at)))
