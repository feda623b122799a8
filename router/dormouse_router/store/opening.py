"""Which store a router has: chosen by its settings, closed with the router.

The libraries are imported where they are needed: together they would take a router half of its start.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from dormouse_router.keeping import Keeping, Sessions
from dormouse_router.settings import Settings
from dormouse_router.store.memory import MemorySessions, in_memory

MEMORY, DATABASE = "memory", "database"


@contextlib.asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Keeping]:
    """What `settings` name; open at once, also where its database cannot be reached yet."""
    async with contextlib.AsyncExitStack() as stack:
        keeping = in_memory()
        if settings.database_url != MEMORY:
            from dormouse_router.store.sql import opened

            keeping = await stack.enter_async_context(opened(settings.database_url))
        if settings.sessions != DATABASE:
            keeping = replace(keeping, sessions=_sessions(settings.sessions, stack))
        yield keeping


def _sessions(where: str, stack: contextlib.AsyncExitStack) -> Sessions:
    if where == MEMORY:
        return MemorySessions()
    from dormouse_router.store.valkey import ValkeySessions

    made = ValkeySessions(where)
    stack.push_async_callback(made.close)
    return made
