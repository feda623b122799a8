"""What nobody needs any more leaves the file store: expired files, and blobs of which no row speaks."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable

import structlog

from dormouse_router.files.blobs import Blobs
from dormouse_router.filing import FileRows
from dormouse_router.request import Refusal

log = structlog.get_logger()
EVERY = 60.0
BATCH = 500
ORPHANS_EVERY = 600.0
OLD = 3600.0
"""Seconds that a blob may be without a row: it comes right after it, but a bucket dates a blob by its beginning."""


_OURS = re.compile(r"(file-|part_|seg_)[0-9a-f]{32}")
"""What else lies there is somebody else's, and stays."""


class Sweeper:
    """Several routers may sweep at once: what one has deleted is gone for the other."""

    def __init__(self, rows: FileRows, blobs: Blobs, clock: Callable[[], float] = time.time) -> None:
        self._rows, self._blobs, self._clock = rows, blobs, clock
        self._suspects: set[str] = set()

    async def expired(self) -> int:
        """Delete the files and uploads whose time is over; how many blobs went with them."""
        total = 0
        while gone := await self._rows.expire(self._clock(), BATCH):
            for blob in gone:
                await self._blobs.delete(blob)
            total += len(gone)
        return total

    async def orphans(self) -> int:
        """Delete old blobs that had no row at the look before this one either; how many."""
        found: set[str] = set()
        async with contextlib.aclosing(self._blobs.old(OLD)) as pages:
            async for names in pages:
                ours = [name for name in names if _OURS.fullmatch(name)]
                found |= set(ours) - await self._rows.needed(ours)
        for blob in (gone := found & self._suspects):
            await self._blobs.delete(blob)
        self._suspects = found - gone
        return len(gone) + await self._blobs.clear_staged(OLD)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`."""
        looks = 0
        while not stop.is_set():
            if self._blobs.trouble is not None:
                with contextlib.suppress(Refusal):
                    await self._blobs.prove()  # or what is mended would be said to be broken until somebody writes
            with contextlib.suppress(Refusal):  # the store has said why, and is asked again
                await self.expired()
                if looks % round(ORPHANS_EVERY / EVERY) == 0 and (gone := await self.orphans()):
                    log.info("files without an owner were deleted", count=gone)
            looks += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY):
                    await stop.wait()
