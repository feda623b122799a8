"""SQLite and a folder survive a kill at any moment; so do a backup and a restore while batches are worked on."""

import asyncio
import contextlib
import io
import json
import os
import random
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dormouse_router.batch.lifecycle import Batch, Status
from dormouse_router.keeping import Keeping
from dormouse_router.store import backup, open_store
from tests.router.batch.inputs import OWNER
from tests.router.batch.process import LINES, create, settings_in, step
from tests.router.fakes import until

KILLS = int(os.environ.get("DORMOUSE_TEST_KILLS", "3"))
DEADLINE = 60.0


@contextlib.asynccontextmanager
async def lives(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """What gives birth to processes that work in the folder."""
    program, pipe = (sys.executable, "-m", "tests.router.batch.process", str(folder)), asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        process.kill()
        await process.wait()


async def one_life(parent: asyncio.subprocess.Process, seconds: float) -> list[list[str]]:
    """What a process said before it was killed, so long after it had begun to work."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    said: list[list[str]] = []
    async with asyncio.timeout(DEADLINE):
        parent.stdin.write(b"\n")
        ready, pid = (await parent.stdout.readline()).split()
        assert ready == b"ready"
        await asyncio.sleep(seconds)  # the moment of its end, not a wait for anything
        os.kill(int(pid), signal.SIGKILL)
        while (line := await parent.stdout.readline()) != b"gone\n":
            said.append(line.decode().split())
    return said


def counted(folder: Path) -> dict[str, int]:
    """How many lines of each batch have their answers."""
    database = sqlite3.connect(folder / "router.db")
    try:
        return dict(database.execute("SELECT id, completed FROM batches").fetchall())
    except sqlite3.OperationalError:  # killed before there were tables
        return {}
    finally:
        database.close()


async def worked(keeping: Keeping) -> None:
    """Until there is nothing more to do; leases of the dead run out meanwhile."""
    assert keeping.work is not None
    async with asyncio.timeout(DEADLINE):
        while True:
            while await step(keeping.work, "last"):
                pass
            page = await keeping.batches.page(OWNER, None, 10_000)
            if all(batch.ended for batch in page or []):
                return
            await asyncio.sleep(0.05)


async def each_line_once(keeping: Keeping, batch: Batch) -> None:
    """The batch is complete, with one answer to each line."""
    assert batch.status is Status.COMPLETED
    assert (batch.counts.total, batch.counts.completed, batch.counts.failed) == (LINES, LINES, 0)
    record = await keeping.files.get(batch.output_file_id or "", OWNER)
    assert record is not None
    text = b"".join([piece async for piece in keeping.files.read(record)])
    ids = [json.loads(each)["custom_id"] for each in text.splitlines()]
    assert sorted(ids) == sorted(f"r-{number}" for number in range(LINES))


async def all_whole(keeping: Keeping) -> int:
    """Work on whatever there is, and look at all of it; how many batches there are."""
    await worked(keeping)
    page = await keeping.batches.page(OWNER, None, 10_000) or []
    for batch in page:
        await each_line_once(keeping, batch)
    return len(page)


@pytest.mark.slow
async def test_killed_at_random_moments_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    moments = random.Random(7)  # noqa: S311
    promised: Counter[str] = Counter()
    created: set[str] = set()
    async with lives(tmp_path) as parent:
        for _ in range(KILLS):
            for word, ident, *more in await one_life(parent, moments.uniform(0.0, 0.6)):
                created |= {ident} if word == "created" else set()
                promised[ident] += int(more[0]) if word == "flushed" else 0
            found = counted(tmp_path)
            assert created <= found.keys()
            assert all(found[ident] >= count for ident, count in promised.items()), "an acknowledged answer is lost"
    async with open_store(settings_in(str(tmp_path))) as keeping:
        assert await all_whole(keeping) >= len(created)


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Keeping]:
    """A store in which batches are made, worked on and ended all the time."""
    async with open_store(settings_in(str(tmp_path / "busy"))) as keeping:

        async def work() -> None:
            assert keeping.work is not None
            while True:
                for _ in range(2):
                    await create(keeping)
                while await step(keeping.work, "busy"):
                    pass

        working = asyncio.create_task(work())
        await until(lambda: keeping.trouble() is None)
        yield keeping
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


@pytest.mark.slow
async def test_saved_while_batches_are_worked_on_it_goes_on_elsewhere(busy: Keeping, tmp_path: Path) -> None:
    here, halfway = settings_in(str(tmp_path / "busy")), 0
    for number in range(6):
        archive = io.BytesIO()
        await asyncio.to_thread(backup.save, here, archive)
        archive.seek(0)
        there = settings_in(str(tmp_path / f"restored-{number}"))
        await asyncio.to_thread(backup.restore, there, archive)
        async with open_store(there) as keeping:
            page = await keeping.batches.page(OWNER, None, 10_000) or []
            halfway += any(not batch.ended for batch in page)
            assert await all_whole(keeping) >= len(page)
        await asyncio.sleep(0.05 * number)  # another moment of their lives
    assert halfway, "none was saved in the middle of its work"


@pytest.mark.slow
async def test_restored_while_batches_are_worked_on_they_go_on_from_there(busy: Keeping, tmp_path: Path) -> None:
    here = settings_in(str(tmp_path / "busy"))
    for number in range(4):
        archive = io.BytesIO()
        await asyncio.to_thread(backup.save, here, archive)
        await asyncio.sleep(0.1 * number)  # what is lost again
        archive.seek(0)
        await asyncio.to_thread(backup.restore, here, archive)
    before = {batch.id for batch in await ended(busy)}
    async with asyncio.timeout(DEADLINE):
        while not {batch.id for batch in await ended(busy)} - before:  # noqa: ASYNC110 - another task's work
            await asyncio.sleep(0.05)
    for batch in await ended(busy):
        if await busy.files.get(batch.input_file_id, OWNER) is None:  # lost between its upload and its batch
            assert [error.param for error in batch.errors] == ["file_id"]
        else:
            await each_line_once(busy, batch)


async def ended(keeping: Keeping) -> list[Batch]:
    return [batch for batch in await keeping.batches.page(OWNER, None, 10_000) or [] if batch.ended]
