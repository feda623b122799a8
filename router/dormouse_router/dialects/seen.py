"""Waiting until this router's own catalogue has what was just written: a client asks for its new model at once."""

import asyncio
import contextlib
from collections.abc import Callable
from contextlib import aclosing

from dormouse_router.catalog.record import Key, Record
from dormouse_router.gateway import ModelStore

SEEN_SECONDS = 5.0
"""The API server has it already, so a watch that is later than this is no error of the caller's."""


async def seen(store: ModelStore, key: Key, holds: Callable[[Record], bool] = lambda record: True) -> Record | None:
    """The record of `key` once it is there and `holds`; None where the watch is late."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SEEN_SECONDS), aclosing(store.watch(*key)) as records:
            async for record in records:
                if record is not None and holds(record):
                    return record
    return None
