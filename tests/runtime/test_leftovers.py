"""Leftovers are what stays: not what another test's server is about to take away."""

import mmap
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime import leftovers


@pytest.fixture
def name() -> Iterator[str]:
    made = f"dormouse-test-{uuid.uuid4().hex}"
    yield made
    (leftovers.SHARED / made).unlink(missing_ok=True)


def test_memory_that_nobody_has_is_left(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.2)
    left = leftovers.Leftovers("no such tag", tmp_path)
    (leftovers.SHARED / name).write_bytes(b"x")
    assert name in left.seen().shared_memory


def test_memory_that_somebody_maps_is_not(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leftovers, "PATIENCE", 0.2)
    left = leftovers.Leftovers("no such tag", tmp_path)
    with (leftovers.SHARED / name).open("wb+") as file:
        file.write(bytes(mmap.PAGESIZE))
        file.flush()
        mapped = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    with mapped:
        assert name not in left.seen().shared_memory


def test_memory_on_its_way_out_is_not(tmp_path: Path, name: str) -> None:
    left = leftovers.Leftovers("no such tag", tmp_path)
    path = leftovers.SHARED / name
    path.write_bytes(b"x")
    unlink = threading.Timer(0.3, path.unlink)
    unlink.start()
    try:
        assert name not in left.seen().shared_memory
    finally:
        unlink.join()
