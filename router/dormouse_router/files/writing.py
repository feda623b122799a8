"""One blob while it is written: bounded, hashed, in blocks, and off the event loop."""

import asyncio
import hashlib
from collections.abc import Callable

from dormouse_router.files.blobs import MIB, Blobs, BlobWriter
from dormouse_router.filing import full
from dormouse_router.request import Refusal

BLOCK = MIB


class Budget:
    """What all that is being written in this process may still take."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.arriving = 0

    def take(self, size: int, stored: int) -> None:
        """Refusal 507."""
        if self.arriving + size + stored > self.most:
            raise full()
        self.arriving += size


class Writing:
    """A blob of at most `most` bytes. `abandon` it in the end, whatever became of it."""

    def __init__(self, blobs: Blobs, name: str, most: int, spend: Callable[[int], None], *, md5: bool = False) -> None:
        """`spend` is told of all bytes before they are written, and refuses. `md5`: whether that is asked for too."""
        self.name, self.size = name, 0
        self._blobs, self._most, self._spend = blobs, most, spend
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._pieces: list[bytes] = []
        self._held = 0
        self._file: BlobWriter | None = None
        self._done = False

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def md5(self) -> str | None:
        return None if self._md5 is None else self._md5.hexdigest()

    async def write(self, chunk: bytes) -> None:
        """Refusal 413 beyond `most`, 507, 503."""
        self.size += len(chunk)
        if self.size > self._most:
            raise too_large(self._most)
        self._spend(len(chunk))
        self._pieces.append(chunk)
        self._held += len(chunk)
        if self._held >= BLOCK:
            await self._flush()

    async def close(self) -> None:
        """It is whole, and on the disk."""
        await self._flush()
        assert self._file is not None  # noqa: S101 - for the type checker
        self._done = True
        await self._file.close()

    async def abandon(self) -> None:
        """Unless it was closed, nothing of it stays."""
        if self._file is not None and not self._done:
            self._done = True
            await self._file.abort()

    async def _flush(self) -> None:
        block = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._file is None:
            self._file = await self._blobs.open(self.name)
        # the sums and the disk at once: neither holds the interpreter's lock
        _, room = await asyncio.gather(self._file.write(block), asyncio.to_thread(self._add_up, block))
        if not room:
            raise full()

    def _add_up(self, block: bytes) -> bool:
        self._sha256.update(block)
        if self._md5 is not None:
            self._md5.update(block)
        return self._blobs.has_room()


def too_large(most: int) -> Refusal:
    """What whoever sends more than `most` bytes is told."""
    text = f"The file is too large: it may have at most {most} bytes. Send it in several files."
    return Refusal(413, text, code="file_too_large", param="file")
