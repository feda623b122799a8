"""Blobs that no row speaks of go; what is needed, or may still get its row, stays."""

import asyncio
import os
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from dormouse_router.files import sweep
from dormouse_router.files.blobs import in_folder
from dormouse_router.files.filestore import FileStore
from dormouse_router.files.memory import MemoryRows
from dormouse_router.files.sweep import OLD, Sweeper
from dormouse_router.filing import Draft, new_id
from dormouse_router.request import Refusal
from tests.router.fakes import until
from tests.router.files.conftest import QUOTA, Store

DRAFT = Draft("ann", "a.txt", "user_data")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_blob_without_a_row_goes_at_the_second_look(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "OLD", -60.0)  # as if all of them were old
    async with store.files.writing("ann", 10) as writer:
        await writer.write(b"kept")
        kept = await writer.commit(DRAFT)
    orphan = new_id("file-")
    file = await store.blobs.open(orphan)
    await file.write(b"lost")
    await file.close()
    assert await store.sweeper.orphans() == 0
    assert await store.names() == {kept.id, orphan}
    assert await store.sweeper.orphans() == 1
    assert await store.names() == {kept.id}
    assert await store.content(kept) == b"kept"


async def test_only_old_blobs_and_what_was_begun_long_ago_go(tmp_path: Path) -> None:
    blobs, rows = in_folder(tmp_path), MemoryRows()
    sweeper = Sweeper(rows, blobs)
    staged = [f"file-{n * 32}#1" for n in "ab"]
    young, old, part = f"file-{'c' * 32}", f"file-{'d' * 32}", f"part_{'e' * 32}"
    for name in (*staged, young, old, part, "somebody's"):
        tmp_path.joinpath(name).write_bytes(b"x")
    for name in (staged[0], old, part, "somebody's"):
        os.utime(tmp_path / name, (0, 0))
    for _ in range(3):
        await sweeper.orphans()
    assert sorted(names_in(tmp_path)) == sorted((staged[1], young, "somebody's"))
    assert OLD == 3600.0


async def test_an_empty_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    blobs = in_folder(tmp_path / "none")
    assert await Sweeper(MemoryRows(), blobs).orphans() == 0
    assert blobs.trouble is None
    files = FileStore(MemoryRows(), blobs, QUOTA)
    async with files.writing("ann", 10) as writer:
        await writer.write(b"x")


async def test_a_disk_that_was_mended_is_found_so_though_nobody_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "EVERY", 0.01)
    blobs, stop = in_folder(tmp_path), asyncio.Event()
    tries: list[int] = []

    def broken(*_: object, **__: object) -> None:
        tries.append(1)
        raise GenericError("Input/output error (os error 5)")

    with monkeypatch.context() as patched:
        patched.setattr(obstore, "open_writer_async", broken)
        with pytest.raises(Refusal):
            await blobs.open("file-x")
        sweeping = asyncio.create_task(Sweeper(MemoryRows(), blobs).run(stop))
        await until(lambda: len(tries) > 2)
        assert blobs.trouble is not None
    await until(lambda: blobs.trouble is None)
    stop.set()
    await sweeping
    assert names_in(tmp_path) == []
