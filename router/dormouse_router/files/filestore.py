"""Files: blobs and rows in step. `filing.Files`."""

import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import replace

from dormouse_router.caller import current
from dormouse_router.files.blobs import Blobs
from dormouse_router.files.writing import Budget, Writing
from dormouse_router.filing import Draft, FileRecord, FileRows, Quota, new_id
from dormouse_router.request import Refusal

Clock = Callable[[], float]


def room(quota: Quota) -> Quota:
    """`quota`, or less where whoever asks now may keep less: the tightest of its own limits."""
    caller = current()
    limits = caller.limits.values() if caller is not None else ()
    mosts = [each.storage for each in limits if each.storage is not None]
    return replace(quota, owner_bytes=min(quota.owner_bytes, *mosts)) if mosts else quota


class FileStore:
    """The order of things: a blob before its row, a row's end before its blob's."""

    def __init__(self, rows: FileRows, blobs: Blobs, quota: Quota, clock: Clock = time.time) -> None:
        self._rows, self._blobs, self._quota, self._clock = rows, blobs, quota, clock
        self._budget = Budget(quota.bytes)

    @contextlib.asynccontextmanager
    async def writing(self, owner: str, most: int) -> AsyncIterator["Writer"]:
        usage = await self._rows.usage(owner, self._clock())
        usage.check(room(self._quota), 0)
        writing = Writing(self._blobs, new_id("file-"), most, lambda size: self._budget.take(size, usage.bytes))
        try:
            yield Writer(self, writing)
        finally:
            self._budget.arriving -= writing.size
            await writing.abandon()

    async def keep(self, writing: Writing, draft: Draft) -> FileRecord:
        """The blob is whole, then it has a row."""
        await writing.close()
        record = record_of(writing, draft, self._clock())
        try:
            await self._rows.add(record, room(self._quota))
        except Refusal as refusal:
            # of a database that went away nobody knows what it did: the sweep looks later
            if refusal.status != 503:
                await self._blobs.delete(record.id)
            raise
        return record

    async def get(self, id: str, owner: str) -> FileRecord | None:  # noqa: A002
        return await self._rows.get(id, owner, self._clock())

    async def page(
        self, owner: str, purpose: str | None, after: str | None, limit: int, *, newest_first: bool
    ) -> list[FileRecord] | None:
        return await self._rows.page(owner, self._clock(), purpose, after, limit, newest_first=newest_first)

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        pinned = await self._rows.remove(id, owner, self._clock())
        if pinned is False:
            await self._drop([id])
        return pinned is not None

    async def read(self, record: FileRecord, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        end = record.bytes if stop is None else min(stop, record.bytes)
        try:
            async with contextlib.aclosing(self._blobs.read(record.id, start, end)) as pieces:
                async for piece in pieces:
                    yield piece
        except FileNotFoundError:
            raise Refusal(404, f"No such File object: {record.id}") from None

    async def pin(self, id: str, owner: str, by: str) -> FileRecord | None:  # noqa: A002
        return await self._rows.pin(id, owner, by, self._clock())

    async def unpin(self, by: str) -> None:
        await self._drop(await self._rows.unpin(by))

    async def _drop(self, blobs: list[str]) -> None:
        """Their rows are gone already: what fails here, the sweep does later."""
        for blob in blobs:
            with contextlib.suppress(Refusal):
                await self._blobs.delete(blob)


class Writer:
    """`filing.FileWriter`."""

    def __init__(self, store: FileStore, writing: Writing) -> None:
        self._store, self._writing = store, writing

    @property
    def size(self) -> int:
        return self._writing.size

    async def write(self, chunk: bytes) -> None:
        await self._writing.write(chunk)

    async def commit(self, draft: Draft) -> FileRecord:
        return await self._store.keep(self._writing, draft)


def record_of(writing: Writing, draft: Draft, now: float) -> FileRecord:
    """What is known of a file whose blob is whole."""
    ends = None if draft.lives is None else now + draft.lives
    fields = (draft.owner, draft.filename, draft.purpose)
    return FileRecord(writing.name, *fields, writing.size, writing.sha256, now, ends)
