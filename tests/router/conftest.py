"""A running router and engines for the tests of this folder."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from tests.router.fakes import Engine, Serve, Stage, speak, stage

MakeEngine = Callable[..., Awaitable[Engine]]


@pytest.fixture
async def world() -> AsyncIterator[Stage]:
    """A router whose catalogue is still empty."""
    async with stage() as made:
        yield made


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine that says "Paris."."""
    made = Engine()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    """More engines, with the behaviour asked for."""
    made: list[Engine] = []

    async def make(serve: Serve = speak, *, requests_per_connection: int | None = None) -> Engine:
        new = Engine(serve, requests_per_connection=requests_per_connection)
        await new.start()
        made.append(new)
        return new

    yield make
    for old in made:
        await old.stop()


@pytest.fixture
async def client(world: Stage) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of `world`."""
    async with httpx.AsyncClient(base_url=world.url, timeout=20, limits=httpx.Limits(max_connections=None)) as made:
        yield made
