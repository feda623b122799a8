"""The output and error file of a sealed batch, made of its segments. However often that is done, they are the same."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batch.results import Unanswered
from dormouse_router.batch.rows import Piece, WorkRows
from dormouse_router.batching import OUTPUT_PURPOSE, Duty
from dormouse_router.files.blobs import Blobs
from dormouse_router.files.writing import Writing
from dormouse_router.filing import FileRecord

MOST = 2**40
"""Bytes of one of them: what was answered is not refused for its size, only for want of room."""


class LostError(Exception):
    """A blob is not there: somebody else has ended the batch meanwhile, or the store has lost it."""


class Results:
    """Nobody sees what is written here before a row speaks of it."""

    def __init__(self, rows: WorkRows, blobs: Blobs) -> None:
        self._rows, self._blobs = rows, blobs

    async def written(self, duty: Duty, now: float, ends: float) -> tuple[FileRecord | None, FileRecord | None]:
        """Both, whole and on the disk; None for one that would be empty. Refusal 503, 507; LostError."""
        pieces = await self._rows.segments(duty.batch.id)
        missing = await self._rows.unanswered(duty.batch.id)
        good, bad = [_output(piece) for piece in pieces], [_error(piece) for piece in pieces]
        output = await self._file(duty.output_id, self._joined(good))
        error = await self._file(duty.error_id, self._told(duty, bad, missing))
        return _record(output, duty.batch, "output", now, ends), _record(error, duty.batch, "error", now, ends)

    async def _told(self, duty: Duty, spans: list["Span"], missing: set[int]) -> AsyncGenerator[bytes, None]:
        async for piece in self._joined(spans):
            yield piece
        if missing:
            async for piece in self._unanswered(duty, missing):
                yield piece

    async def _joined(self, spans: list["Span"]) -> AsyncIterator[bytes]:
        for name, start, stop in spans:
            async with contextlib.aclosing(self._blobs.read(name, start, stop)) as pieces:
                async for piece in pieces:
                    yield piece

    async def _unanswered(self, duty: Duty, missing: set[int]) -> AsyncIterator[bytes]:
        found = Unanswered(duty.batch, missing)
        async with contextlib.aclosing(self._blobs.read(duty.batch.input_file_id, 0, duty.input_bytes)) as pieces:
            async for piece in pieces:
                yield await asyncio.to_thread(found.feed, piece)
        yield found.end()

    async def _file(self, name: str, pieces: AsyncIterator[bytes]) -> Writing | None:
        writing = Writing(self._blobs, name, MOST, lambda _: None)
        try:
            async for piece in pieces:
                await writing.write(piece)
            if not writing.size:
                return None
            await writing.close()
        except FileNotFoundError:
            raise LostError from None
        finally:
            await writing.abandon()
        return writing


Span = tuple[str, int, int]
"""A blob, and which bytes of it."""


def _output(piece: Piece) -> Span:
    return piece.id, 0, piece.output_bytes


def _error(piece: Piece) -> Span:
    return piece.id, piece.output_bytes, piece.output_bytes + piece.error_bytes


def _record(writing: Writing | None, batch: Batch, kind: str, now: float, ends: float) -> FileRecord | None:
    if writing is None:
        return None
    said = (writing.name, batch.owner, f"{batch.id}_{kind}.jsonl", OUTPUT_PURPOSE)
    return FileRecord(*said, writing.size, writing.sha256, now, ends)
