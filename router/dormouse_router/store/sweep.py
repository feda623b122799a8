"""What has expired leaves the database, a bounded batch at a time; several routers may sweep at once."""

import asyncio
import contextlib
import time
from collections.abc import Coroutine
from typing import Any

from sqlalchemy import Table, delete, select

from dormouse_router.request import Refusal
from dormouse_router.store.database import Database
from dormouse_router.store.tables import OWN_SWEEP, metadata

BATCH = 500
EVERY = 60.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0


def expiring() -> list[Table]:
    """The tables whose rows expire: those with a column of that name, but for those whose rows take more with them."""
    return [table for table in metadata.sorted_tables if "expires_at" in table.c and table.info != OWN_SWEEP]


async def sweep(database: Database, now: float, batch: int = BATCH) -> int:
    """Delete every expired row, `batch` in a transaction; how many there were."""
    total = 0
    for table in expiring():
        done = batch
        while done == batch:
            done = await _once(database, table, now, batch)
            total += done
    return total


async def _once(database: Database, table: Table, now: float, batch: int) -> int:
    [key] = table.primary_key
    # several routers leave each other's rows alone; SQLite has one writer and no such words
    due = select(key).where(table.c.expires_at <= now).limit(batch).with_for_update(skip_locked=True)
    async with database.writing() as connection:
        return (await connection.execute(delete(table).where(key.in_(due)))).rowcount


async def tend(database: Database, stop: asyncio.Event) -> None:
    """Prepare the database, however long that takes, then keep it swept, until `stop`.

    Cancelled in the middle of a statement, SQLite's driver would answer to a loop that may have gone.
    """
    pause = FIRST_PAUSE
    while not stop.is_set() and not await _tried(database.prepare()):
        await _pause(stop, pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    while not stop.is_set():
        await _tried(sweep(database, time.time()))
        await _pause(stop, EVERY)


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def _tried(work: Coroutine[Any, Any, object]) -> bool:
    try:
        await work
    except Refusal:  # the database has said why, and is asked again
        return False
    return True
