"""Stores to test: every backend with one name, the slow ones marked so."""

import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from dormouse_router.store.database import Database
from tests.router.store import servers

NOW = 1_700_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def prepared(request: pytest.FixtureRequest, folder: Path) -> AsyncIterator[Database]:
    """A database of the fixture's own, of the kind that its parameter names, with its tables."""
    url = f"sqlite:///{folder}/one.db"
    if request.param != "sqlite":
        server: servers.Postgres = request.getfixturevalue("postgres")
        url = await server.new_database()
    database = Database(url)
    try:
        await database.prepare()
        yield database
    finally:
        await database.close()


NewUrl = Callable[[], Awaitable[str]]
SLOW = pytest.param("postgresql", marks=pytest.mark.slow)
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres() -> Iterator[servers.Postgres]:
    """One server for all tests; each has a database of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="dormouse-pg-", ignore_cleanup_errors=True) as folder,
        servers.postgres(Path(folder)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(params=["sqlite", SLOW])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Gives the URL of an empty database each time it is called."""

    async def make() -> str:
        if request.param == "sqlite":
            return f"sqlite:///{tmp_path}/folder/{next(_numbers)}.db"
        server: servers.Postgres = request.getfixturevalue("postgres")
        return await server.new_database()

    return make
