"""A store in a database: its parts over one `Database`, and the task that tends it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from dormouse_router.files import Rows, open_files
from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store.accounts import SqlAccounts
from dormouse_router.store.batches import SqlBatchRows
from dormouse_router.store.batchwork import SqlWorkRows
from dormouse_router.store.database import Database
from dormouse_router.store.files import SqlFileRows
from dormouse_router.store.predictions import SqlPredictions
from dormouse_router.store.responses import SqlResponses
from dormouse_router.store.sessions import SqlSessions
from dormouse_router.store.sweep import tend
from dormouse_router.store.uploads import SqlUploadRows
from dormouse_router.store.usage import SqlUsage
from dormouse_router.store.webhooks import SqlWebhooks

log = structlog.get_logger()
STOP_SECONDS = 6.0
"""What is asked of the database at the router's end may take so long: more than a connection may."""


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Keeping]:
    """What is kept in the database that they name, prepared and swept in the background, with the files beside it."""
    database = Database(settings.database_url, settings.database_bytes)
    stop = asyncio.Event()
    tending = asyncio.create_task(tend(database, stop))
    tending.add_done_callback(_report)
    try:
        rows = Rows(SqlFileRows(database), SqlUploadRows(database), SqlBatchRows(database), SqlWorkRows(database))
        async with open_files(settings, rows) as stored:
            kept = (SqlResponses(database), SqlSessions(database), stored.files, stored.uploads)
            yield Keeping(
                *kept,
                predictions=SqlPredictions(database),
                webhooks=SqlWebhooks(database),
                batches=stored.batches,
                work=stored.work,
                accounts=SqlAccounts(database),
                usage=SqlUsage(database),
                trouble=lambda: database.trouble or stored.trouble(),
            )
    finally:
        stop.set()
        await asyncio.wait([tending], timeout=STOP_SECONDS)
        tending.cancel()
        await asyncio.gather(tending, return_exceptions=True)
        await database.close()


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the database is not tended any more", error=repr(error))
