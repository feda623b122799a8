"""Which store a router has: chosen by its settings, closed with the router.

The libraries are imported where they are needed: together they would take a router half of its start.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING

from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store.memory import MemorySessions, in_memory

if TYPE_CHECKING:
    from dormouse_router.store.counts import ValkeyCounts

MEMORY, DATABASE = "memory", "database"


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Keeping]:
    """What `settings` name; open at once, also where its database cannot be reached yet."""
    async with contextlib.AsyncExitStack() as stack:
        if settings.database_url != MEMORY:
            from dormouse_router.store import sql

            keeping = await stack.enter_async_context(sql.opened(settings))
        else:
            from dormouse_router.files import open_in_memory

            stored = await stack.enter_async_context(open_in_memory())
            keeping = replace(in_memory(), files=stored.files, uploads=stored.uploads)
        if settings.sessions == MEMORY:
            keeping = replace(keeping, sessions=MemorySessions())
        elif settings.sessions != DATABASE:
            from dormouse_router.store import valkey

            server = await stack.enter_async_context(valkey.opened(settings.sessions))
            database = keeping.trouble
            keeping = replace(keeping, sessions=server, trouble=lambda: database() or server.trouble)
        yield keeping


@contextlib.asynccontextmanager
async def open_counts(url: str) -> AsyncIterator["ValkeyCounts | None"]:
    """Counters that all routers see, or none where each counts for itself."""
    if url == MEMORY:
        yield None
        return
    from dormouse_router.store.counts import ValkeyCounts

    counts = ValkeyCounts(url)
    try:
        yield counts
    finally:
        await counts.close()
