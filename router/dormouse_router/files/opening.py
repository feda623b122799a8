"""Which file store a router has: chosen by its settings, closed with the router."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from dormouse_router.batch.rows import BatchRows, WorkRows
from dormouse_router.batching import Batches, BatchLimits, Work
from dormouse_router.files import blobs as places
from dormouse_router.files.batches import BatchStore, NoBatches, WorkStore
from dormouse_router.files.blobs import Blobs
from dormouse_router.files.filestore import FileStore
from dormouse_router.files.memory import MemoryRows
from dormouse_router.files.sweep import Sweeper
from dormouse_router.files.uploads import UploadStore
from dormouse_router.filing import FileRows, Files, Quota, UploadRows, Uploads
from dormouse_router.settings import MIB, Settings

log = structlog.get_logger()
IN_MEMORY = Quota(owner_bytes=64 * MIB, owner_files=1000, bytes=64 * MIB)
STOP_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of all that, wherever it is kept."""

    files: FileRows
    uploads: UploadRows
    batches: BatchRows
    work: WorkRows


@dataclass(frozen=True, slots=True)
class Opened:
    """All faces of one file store."""

    files: Files
    uploads: Uploads
    batches: Batches
    work: Work | None
    trouble: Callable[[], str | None] = lambda: None
    """Why it cannot be used, in a sentence; None where it last could."""


@contextlib.asynccontextmanager
async def open_files(settings: Settings, rows: Rows) -> AsyncIterator[Opened]:
    """The store that `settings` name, swept in the background. Nothing is asked of it before it is needed."""
    quota = Quota(settings.files_owner_bytes, settings.files_owner_count, settings.files_bytes)
    blobs, limits = _blobs(settings), limits_of(settings)
    stores = FileStore(rows.files, blobs, quota), UploadStore(rows.uploads, blobs, quota)
    batches = BatchStore(rows.batches, limits), WorkStore(rows.work, blobs, limits)
    async with _swept(Sweeper(rows.files, blobs)):
        yield Opened(*stores, *batches, lambda: blobs.trouble)


def limits_of(settings: Settings) -> BatchLimits:
    return BatchLimits(settings.batch_creates, settings.batch_tokens, settings.batch_seconds)


@contextlib.asynccontextmanager
async def open_in_memory() -> AsyncIterator[Opened]:
    """Gone with the process, bounded, and swept in the background."""
    rows, blobs = MemoryRows(), places.in_memory()
    async with _swept(Sweeper(rows, blobs)):
        yield _both(rows, blobs)


def files_in_memory() -> Opened:
    """The same, where nobody sweeps."""
    return _both(MemoryRows(), places.in_memory())


def _both(rows: MemoryRows, blobs: Blobs) -> Opened:
    return Opened(FileStore(rows, blobs, IN_MEMORY), UploadStore(rows, blobs, IN_MEMORY), NoBatches(), None)


@contextlib.asynccontextmanager
async def _swept(sweeper: Sweeper) -> AsyncIterator[None]:
    stop = asyncio.Event()
    sweeping = asyncio.create_task(sweeper.run(stop))
    sweeping.add_done_callback(_report)
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait([sweeping], timeout=STOP_SECONDS)
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


def _blobs(settings: Settings) -> Blobs:
    scheme, _, rest = settings.files.partition("://")
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return places.in_bucket(bucket, prefix.strip("/"), settings.files_endpoint, settings.files_region)
    return places.in_folder(Path(rest))


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the file store is not swept any more", error=repr(error))
