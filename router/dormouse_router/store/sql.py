"""A store in a database: its parts over one `Database`, and the task that tends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from dormouse_router.keeping import Keeping
from dormouse_router.store.database import Database
from dormouse_router.store.responses import SqlResponses
from dormouse_router.store.sessions import SqlSessions
from dormouse_router.store.sweep import tend

log = structlog.get_logger()
STOP_SECONDS = 6.0
"""What is asked of the database at the router's end may take so long: more than a connection may."""


@contextlib.asynccontextmanager
async def opened(url: str, most_bytes: int) -> AsyncIterator[Keeping]:
    """What is kept at `url`, prepared and swept in the background. `most_bytes`: of the volume SQLite lies on."""
    database = Database(url, most_bytes)
    stop = asyncio.Event()
    tending = asyncio.create_task(tend(database, stop))
    tending.add_done_callback(_report)
    try:
        yield Keeping(SqlResponses(database), SqlSessions(database), lambda: database.trouble)
    finally:
        stop.set()
        await asyncio.wait([tending], timeout=STOP_SECONDS)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await database.close()


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the database is not tended any more", error=repr(error))
