"""Saved and restored while a router uses it: one moment, whole; and what is no backup is refused."""

import asyncio
import io
import os
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.filing import Draft, FileRecord
from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store import backup, open_store

DRAFT = Draft("ann", "a.txt", "user_data")


def settings_in(folder: Path) -> Settings:
    return replace(Settings(), database_url=f"sqlite:///{folder}/router.db", files=f"file://{folder}/files")


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".backup-*"))


async def put(keeping: Keeping, content: bytes) -> FileRecord:
    async with keeping.files.writing("ann", 10_000_000) as writer:
        await writer.write(content)
        return await writer.commit(DRAFT)


async def content(keeping: Keeping, record: FileRecord) -> bytes:
    return b"".join([piece async for piece in keeping.files.read(record)])


async def listed(keeping: Keeping) -> list[FileRecord]:
    found = await keeping.files.page("ann", None, None, 10_000, newest_first=False)
    assert found is not None
    return found


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[Keeping]:
    """A store that is written to and deleted from all the time."""
    async with open_store(settings_in(tmp_path)) as keeping:

        async def work() -> None:
            while True:
                record = await put(keeping, os.urandom(50_000))
                await put(keeping, os.urandom(1_000))
                await keeping.files.delete(record.id, "ann")

        working = asyncio.create_task(work())
        yield keeping
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_what_is_saved_in_use_is_restored_whole(busy: Keeping, tmp_path: Path) -> None:
    whole = os.urandom(3_000_000)
    kept = await put(busy, whole)
    archive = io.BytesIO()
    count = await asyncio.to_thread(backup.save, settings_in(tmp_path), archive)
    assert leftovers(tmp_path) == []
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    archive.seek(0)
    assert await asyncio.to_thread(backup.restore, settings_in(elsewhere), archive) == count >= 1
    async with open_store(settings_in(elsewhere)) as restored:
        records = await listed(restored)
        assert len(records) == count
        assert kept in records
        for record in records:
            assert len(await content(restored, record)) == record.bytes
        assert await content(restored, kept) == whole


async def test_a_restore_in_use_brings_back_what_was(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with open_store(settings) as keeping:
        kept, archive = await put(keeping, b"kept"), io.BytesIO()
        await asyncio.to_thread(backup.save, settings, archive)
        await keeping.files.delete(kept.id, "ann")
        later = await put(keeping, b"later")
        archive.seek(0)
        await asyncio.to_thread(backup.restore, settings, archive)
        assert await listed(keeping) == [kept]
        assert await content(keeping, kept) == b"kept"
        assert await keeping.files.get(later.id, "ann") is None
        await put(keeping, b"and on")


async def test_what_a_router_deletes_while_it_is_restored_is_there_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that had just ended a batch deletes blobs which the restored database still needs."""
    settings = settings_in(tmp_path)
    moments: list[float] = []
    async with open_store(settings) as keeping:
        kept, archive = await put(keeping, b"kept"), io.BytesIO()
        await asyncio.to_thread(backup.save, settings, archive)
        archive.seek(0)
        (tmp_path / "files" / kept.id).write_bytes(b"torn")  # and what a bad disk has made of it is as it was

        def late(seconds: float) -> None:
            moments.append(seconds)
            (tmp_path / "files" / kept.id).unlink()

        monkeypatch.setattr(backup, "sleep", late)
        await asyncio.to_thread(backup.restore, settings, archive)
        assert moments == [backup.LATE_SECONDS]
        assert await content(keeping, kept) == b"kept"
    assert leftovers(tmp_path) == []


async def test_an_archive_that_is_cut_short_changes_nothing(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with open_store(settings) as keeping:
        kept, archive = await put(keeping, os.urandom(100_000)), io.BytesIO()
        await asyncio.to_thread(backup.save, settings, archive)
        for size in (0, 1000, 100_000, len(archive.getvalue()) - 12_000):
            with pytest.raises((backup.NotHere, tarfile.TarError, OSError)):
                await asyncio.to_thread(backup.restore, settings, io.BytesIO(archive.getvalue()[:size]))
        assert await listed(keeping) == [kept]
        assert len(await content(keeping, kept)) == 100_000


def test_who_has_another_store_is_told_its_tools(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DORMOUSE_DATABASE_URL", "postgresql://host/name")
    assert backup.main(["save"]) == 1
    assert "pg_dump" in capsys.readouterr().err
    assert backup.main(["save", "more"]) == 1
    assert "restore" in capsys.readouterr().err
