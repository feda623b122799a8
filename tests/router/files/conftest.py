"""File stores to test: rows in memory, SQLite and PostgreSQL, blobs in a folder and a bucket."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dev import objectstore
from dormouse_router.files.blobs import Blobs, in_bucket, in_folder, in_memory
from dormouse_router.files.filestore import FileStore
from dormouse_router.files.memory import MemoryRows
from dormouse_router.files.sweep import Sweeper
from dormouse_router.files.uploads import UploadStore
from dormouse_router.filing import FileRecord, FileRows, Quota, UploadRows
from dormouse_router.store.files import SqlFileRows
from dormouse_router.store.uploads import SqlUploadRows
from tests.router.store.conftest import SLOW, prepared
from tests.router.store.conftest import postgres as postgres

NOW = 1_700_000_000.0
QUOTA = Quota(owner_bytes=40_000_000, owner_files=5, bytes=60_000_000)
SLOW_BUCKET = pytest.param("bucket", marks=pytest.mark.slow)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Store:
    """One file store, and what it is made of."""

    files: FileStore
    uploads: UploadStore
    sweeper: Sweeper
    blobs: Blobs
    rows: FileRows
    clock: Clock

    async def content(self, record: FileRecord, start: int = 0, stop: int | None = None) -> bytes:
        return b"".join([piece async for piece in self.files.read(record, start, stop)])

    async def names(self) -> set[str]:
        """Of all blobs."""
        return {name async for names in self.blobs.old(-60.0) for name in names}


@pytest.fixture(scope="session")
def bucket() -> Iterator[objectstore.Keys]:
    with objectstore.running() as keys:
        yield keys


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture(params=["memory", "sqlite", SLOW])
async def rows(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[FileRows, UploadRows]]:
    if request.param == "memory":
        made = MemoryRows()
        yield made, made
        return
    async with prepared(request, tmp_path) as database:
        yield SqlFileRows(database), SqlUploadRows(database)


@pytest.fixture(params=["memory", "folder", SLOW_BUCKET])
def blobs(request: pytest.FixtureRequest, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    if request.param == "memory":
        return in_memory()
    if request.param == "folder":
        return in_folder(folder)
    keys: objectstore.Keys = request.getfixturevalue("bucket")
    return bucket_of(keys, f"of/{folder.parent.name}", monkeypatch)


def bucket_of(keys: objectstore.Keys, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_access_key)
    return in_bucket(objectstore.BUCKET, prefix, f"http://127.0.0.1:{keys.port}", objectstore.REGION)


@pytest.fixture
def store(rows: tuple[FileRows, UploadRows], blobs: Blobs) -> Store:
    clock = Clock()
    files, uploads = rows
    made = FileStore(files, blobs, QUOTA, clock), UploadStore(uploads, blobs, QUOTA, clock)
    return Store(*made, Sweeper(files, blobs, clock), blobs, files, clock)
