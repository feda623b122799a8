"""Blobs: written in pieces, there when whole, read by range. The only module that talks to obstore.

In a folder a blob is written under another name (`<id>#1`), closed, renamed, and then the file and the folder are
brought to the disk; in a bucket it is an upload in parts, of which nobody sees anything before its end.
"""

import asyncio
import contextlib
import errno
import os
import re
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore, S3Store

from dormouse_router.filing import full
from dormouse_router.request import Refusal

log = structlog.get_logger()
T = TypeVar("T")
MIB = 1024 * 1024
PIECE, PIECE_HERE = 256 * 1024, 512 * 1024
"""Bytes that are read at once: the least of a bucket, the most of a folder."""
PART = 5 * MIB
"""What S3 takes as one part of an upload; 10,000 of them are 48 GiB."""
AHEAD = 2
"""Parts on their way at once."""
RESERVE = 64 * MIB
"""Free bytes of the disk that files leave to the database beside them."""
CONNECT, SILENCE = timedelta(seconds=5), timedelta(seconds=30)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAYS_FULL = re.compile(r"No space left|os error (28|122)\b")
_STAGED = re.compile(r"[a-z]+[-_][0-9a-f]{32}#\d+")


class Blobs:
    """A folder, a bucket's prefix, or memory."""

    def __init__(self, store: Any, place: str, folder: Path | None = None) -> None:
        """`place`: what messages call it. `folder`: where it is on this machine, if it is."""
        self._store, self._place, self._folder = store, place, folder
        self._troubles: dict[bool, str] = {}
        """The sentence of the last reading (False) or writing (True) that failed, until one has succeeded."""

    @property
    def trouble(self) -> str | None:
        """Why it cannot be used, as far as known; None where it last could. A reading does not mend a writing: a disk
        that only reads is swept without an error for as long as nothing can be kept on it."""
        return self._troubles.get(True) or self._troubles.get(False)

    async def open(self, name: str) -> "BlobWriter":
        """Begin to write the blob. Refusal 507, 503."""
        if self._folder is not None:
            await asyncio.to_thread(self._make_folder, self._folder)
        part = MIB if self._folder is not None else PART
        with self.watched(writing=True):
            file = obstore.open_writer_async(self._store, name, buffer_size=part, max_concurrency=AHEAD)
        return BlobWriter(self, name, file)

    async def read(self, name: str, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to before `stop`. Refusal 404 where there is no such blob, 503."""
        if start >= stop:
            return
        if self._folder is not None:
            async with contextlib.aclosing(self._read_here(self._folder / name, start, stop)) as pieces:
                async for piece in pieces:
                    yield piece
            return
        with self.watched():
            found = await unbroken(obstore.get_async(self._store, name, options={"range": (start, stop)}))
            stream = found.stream(min_chunk_size=PIECE)
            while (some := await unbroken(anext(stream, None))) is not None:
                yield bytes(some)

    async def _read_here(self, path: Path, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Of a file, without obstore, which reads 8 KiB at a time and takes three times as long for it."""
        with self.watched():
            file = await unbroken(asyncio.to_thread(os.open, path, os.O_RDONLY))
            try:
                while start < stop:
                    piece = await unbroken(asyncio.to_thread(os.pread, file, min(PIECE_HERE, stop - start), start))
                    if not piece:
                        raise OSError(errno.EIO, f"{path.name} is shorter than its row says")
                    start += len(piece)
                    yield piece
            finally:
                os.close(file)

    async def delete(self, name: str) -> None:
        """It may be gone already. Refusal 503."""
        with self.watched(writing=True), contextlib.suppress(FileNotFoundError):
            await unbroken(obstore.delete_async(self._store, name))

    async def old(self, seconds: float) -> AsyncGenerator[list[str], None]:
        """The names of blobs that were made longer ago than that, some at a time. Refusal 503."""
        before = datetime.now(UTC) - timedelta(seconds=seconds)
        if self._folder is not None and not await asyncio.to_thread(self._folder.is_dir):
            return
        pages = obstore.list(self._store, chunk_size=500).__aiter__()
        with self.watched():
            while (page := await unbroken(anext(pages, None))) is not None:
                yield [blob["path"] for blob in page if blob["last_modified"] < before]

    async def clear_staged(self, seconds: float) -> int:
        """Delete what processes that were killed had begun to write; how many there were. Nothing in a bucket: its
        own rules end uploads that nobody ended."""
        if self._folder is None:
            return 0
        with self.watched():
            return await asyncio.to_thread(_clear, self._folder, time.time() - seconds)

    async def to_disk(self, name: str) -> None:
        """The blob survives the machine's end from now on."""
        if self._folder is not None:
            with self.watched(writing=True, proven=True):
                await asyncio.to_thread(_synced, self._folder, name)

    async def prove(self) -> None:
        """Write a blob and take it away again: no `trouble` is left where that goes well. Refusal 507, 503."""
        name = f"part_{uuid.uuid4().hex}"  # a name that the sweep knows, should this process end in between
        writer = await self.open(name)
        try:
            await writer.write(b".")
            await writer.close()
        finally:
            await self.delete(name)

    def has_room(self) -> bool:
        """Whether the disk has more than its reserve. May wait for the disk: call it in a thread."""
        if self._folder is None:
            return True
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize > RESERVE

    @contextlib.contextmanager
    def watched(self, *, writing: bool = False, proven: bool = False) -> Iterator[None]:
        """What goes wrong within becomes `trouble`, the log's sentence and a Refusal. `writing`: what it tries;
        `proven`: that it can be written where this ends well, for a piece that was taken may be in memory alone.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            if (isinstance(error, OSError) and error.errno in _FULL) or _SAYS_FULL.search(str(error)):
                log.error("the file store is full", place=self._place)
                raise full() from error
            self._say(str(error).strip().splitlines()[0] if str(error) else type(error).__name__, writing)
            raise _away() from error
        else:
            if proven or not writing:
                self._troubles.pop(writing, None)

    def _say(self, reason: str, writing: bool) -> None:
        sentence = f"the file store {self._place} cannot be used: {reason}: mend it, or set DORMOUSE_FILES to another"
        if sentence != self._troubles.get(writing):
            log.error(sentence)
        self._troubles[writing] = sentence

    def _make_folder(self, folder: Path) -> None:
        with self.watched():
            folder.mkdir(parents=True, exist_ok=True)


class BlobWriter:
    """A blob on its way. End it with `close` or `abort`."""

    def __init__(self, blobs: Blobs, name: str, file: Any) -> None:
        self._blobs, self._name, self._file = blobs, name, file

    async def write(self, piece: bytes) -> None:
        with self._blobs.watched(writing=True):
            await unbroken(self._file.write(piece))

    async def close(self) -> None:
        """It is whole and there, and on the disk."""
        with self._blobs.watched(writing=True, proven=True):
            await unbroken(self._file.close())
        await self._blobs.to_disk(self._name)

    async def abort(self) -> None:
        """Nothing of it stays."""
        error = ConnectionAbortedError()
        with contextlib.suppress(Refusal), self._blobs.watched(writing=True):
            await unbroken(self._file.__aexit__(type(error), error, None))


async def unbroken(work: Awaitable[T]) -> T:
    """The result of `work`, which goes on to its end where its caller is cancelled: obstore, left in the middle of a
    write, would abort the whole process when that ends."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # whoever cancelled us does not ask
        raise


def _away() -> Refusal:
    text = (
        "The file store cannot be used now: send the request again later. Whoever operates the router finds the reason "
        "in its log. Calls that need no files are served."
    )
    return Refusal(503, text, code="files_unavailable", retry_after=5.0)


def _synced(folder: Path, name: str) -> None:
    for path in (folder / name, folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _clear(folder: Path, before: float) -> int:
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as entries:
        old = [entry.path for entry in entries if _STAGED.fullmatch(entry.name) and entry.stat().st_mtime < before]
    for path in old:
        Path(path).unlink(missing_ok=True)
    return len(old)


def in_folder(folder: Path) -> Blobs:
    return Blobs(LocalStore(folder, mkdir=True), str(folder), folder)


def in_memory() -> Blobs:
    return Blobs(MemoryStore(), "in memory")


def in_bucket(bucket: str, prefix: str, endpoint: str, region: str) -> Blobs:
    """Who it is asked as stands in the environment, as S3's own clients have it (AWS_ACCESS_KEY_ID and others)."""
    there = {name: value for name, value in (("endpoint", endpoint), ("region", region)) if value}
    client = {"allow_http": True, "connect_timeout": CONNECT, "timeout": SILENCE, "read_timeout": SILENCE}
    store = S3Store(bucket, prefix=prefix or None, config=there, client_options=client)  # type: ignore[arg-type]
    return Blobs(store, f"s3://{bucket}/{prefix}")
