"""Batches to test: rows in SQLite and PostgreSQL, blobs in a folder, and hands to work on them."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dormouse_router.batch.duties import Taking, perform
from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batching import Answer, BatchDraft, BatchLimits, Chunk, Duty, Line, Task
from dormouse_router.files.batches import BatchStore, WorkStore
from dormouse_router.files.blobs import Blobs, in_folder
from dormouse_router.files.filestore import FileStore
from dormouse_router.files.sweep import Sweeper
from dormouse_router.filing import Draft, FileRecord, Quota
from dormouse_router.store.batches import SqlBatchRows
from dormouse_router.store.batchwork import SqlWorkRows
from dormouse_router.store.database import Database
from dormouse_router.store.files import SqlFileRows
from tests.router.batch.inputs import CHAT, OWNER, told
from tests.router.store.conftest import SLOW, prepared
from tests.router.store.conftest import postgres as postgres

NOW = 1_700_000_000.0
LIMITS = BatchLimits(creates=100, tokens=0, remembered=1000.0)
QUOTA = Quota(owner_bytes=2**40, owner_files=10_000, bytes=2**40)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class World:
    """Everything over one database, and a clock of its own."""

    database: Database
    blobs: Blobs
    clock: Clock
    batches: BatchStore
    work: WorkStore
    files: FileStore
    sweeper: Sweeper
    models: set[str] = field(default_factory=lambda: {"tiny", "large", "other"})

    async def upload(self, text: bytes, owner: str = OWNER, purpose: str = "batch") -> FileRecord:
        async with self.files.writing(owner, 2**30) as writer:
            await writer.write(text)
            return await writer.commit(Draft(owner, "in.jsonl", purpose))

    async def create(self, text: bytes, owner: str = OWNER, **more: Any) -> Batch:
        record = await self.upload(text, owner)
        return await self.batches.create(BatchDraft(owner, CHAT, record.id, **more))

    async def see(self, batch: Batch) -> Batch:
        found = await self.batches.get(batch.id, batch.owner)
        assert found is not None
        return found

    async def duty(self, task: Task, holder: str = "h") -> Duty:
        found = await self.work.take(holder, 30.0)
        assert found is not None
        assert found.task is task
        return found

    async def validated(self, text: bytes, **more: Any) -> Batch:
        """A batch in progress."""
        batch = await self.create(text, **more)
        await self.perform(await self.duty(Task.VALIDATE))
        return await self.see(batch)

    async def perform(self, duty: Duty, **taking: Any) -> None:
        async def serves(_: Batch, name: str) -> bool:
            return name in self.models

        await perform(self.work, duty, Taking(serves, **taking))

    async def finished(self) -> None:
        await self.work.finish(await self.duty(Task.FINISH))

    async def claim(self, holder: str = "h", **more: Any) -> Chunk:
        found = await self.work.claim(holder, 30.0, **more)
        assert found is not None
        return found

    async def asked(self, chunk: Chunk, each: Line) -> dict[str, Any]:
        """What stands in a line of the input."""
        stop = each.offset + each.length
        text = b"".join([piece async for piece in self.work.read(chunk.batch, each.offset, stop)])
        found: dict[str, Any] = json.loads(text)
        return found

    async def answer(self, chunk: Chunk, each: Line, status: int = 200) -> Answer:
        custom_id = (await self.asked(chunk, each))["custom_id"]
        return Answer(each.place, told(chunk.batch.id, each.number, custom_id, status), status != 200)

    async def flush(self, chunk: Chunk, *, most: int | None = None, status: int = 200) -> bool:
        """Answer the first lines of it."""
        return await self.work.flush(chunk, [await self.answer(chunk, each, status) for each in chunk.lines[:most]])

    async def content(self, ident: str | None, owner: str = OWNER) -> list[dict[str, Any]]:
        """The lines of one of its files."""
        record = await self.files.get(ident or "", owner)
        assert record is not None
        text = b"".join([piece async for piece in self.files.read(record)])
        assert text.endswith(b"\n")
        return [json.loads(each) for each in text.splitlines()]

    async def names(self) -> set[str]:
        """Of all blobs."""
        return {name async for names in self.blobs.old(-60.0) for name in names}


def world_of(database: Database, folder: Path, limits: BatchLimits = LIMITS) -> World:
    clock, blobs = Clock(), in_folder(folder)
    batches = BatchStore(SqlBatchRows(database), limits, clock)
    work = WorkStore(SqlWorkRows(database), blobs, limits, clock)
    rows = SqlFileRows(database)
    return World(
        database, blobs, clock, batches, work, FileStore(rows, blobs, QUOTA, clock), Sweeper(rows, blobs, clock)
    )


@pytest.fixture(params=["sqlite", SLOW])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with prepared(request, tmp_path) as database:
        yield world_of(database, tmp_path / "files")
