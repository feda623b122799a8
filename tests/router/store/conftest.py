"""Stores to test: every backend with one name, the slow ones marked so."""

import itertools
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.router.store import servers

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
