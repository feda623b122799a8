"""Which connection a request takes: the newest, never a dead or an old one, and none that is not clean."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from dormouse_router.dataplane.connection import Connection, Unreachable
from dormouse_router.dataplane.upstream import IDLE_SECONDS, Pool
from tests.router.fakes import Engine, until

REQUEST = b"POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 32\r\n\r\n"
BODY = b'{"model":"tiny","messages":[  ]}'


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(connect_timeout=1.0, silence_timeout=60.0)
    yield made
    made.close()
    await asyncio.sleep(0)


async def used(pool: Pool, engine: Engine, now: float = 100.0) -> Connection:
    """A connection that has served a request and was given back at `now`."""
    connection = await pool.connect("127.0.0.1", engine.port)
    answer = connection.send(REQUEST, BODY)
    await answer.head()
    assert b"Paris." in await answer.body()
    pool.give_back("127.0.0.1", engine.port, connection, now)
    return connection


async def test_the_newest_is_taken_first(pool: Pool, engine: Engine) -> None:
    first = await pool.connect("127.0.0.1", engine.port)
    second = await used(pool, engine)
    answer = first.send(REQUEST, BODY)
    await answer.body()
    pool.give_back("127.0.0.1", engine.port, first, 101.0)
    assert pool.take("127.0.0.1", engine.port, 102.0) is first
    assert pool.take("127.0.0.1", engine.port, 102.0) is second
    assert pool.take("127.0.0.1", engine.port, 102.0) is None


async def test_an_old_one_is_closed_instead(pool: Pool, engine: Engine) -> None:
    connection = await used(pool, engine)
    assert pool.take("127.0.0.1", engine.port, 100.0 + IDLE_SECONDS + 0.1) is None
    assert connection.dead


async def test_one_the_engine_closed_is_not_taken(pool: Pool, engine: Engine) -> None:
    connection = await used(pool, engine)
    for writer in list(engine.open):
        writer.close()
    await until(lambda: connection.dead)
    assert pool.take("127.0.0.1", engine.port, 100.0) is None


async def test_one_that_was_not_read_to_its_end_is_closed(pool: Pool, engine: Engine) -> None:
    connection = await pool.connect("127.0.0.1", engine.port)
    connection.send(REQUEST, BODY)
    pool.give_back("127.0.0.1", engine.port, connection, 100.0)
    assert connection.dead
    assert pool.take("127.0.0.1", engine.port, 100.0) is None


async def test_one_that_speaks_unasked_is_closed(pool: Pool, engine: Engine) -> None:
    connection = await used(pool, engine)
    for writer in list(engine.open):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    await until(lambda: connection.dead)
    assert pool.take("127.0.0.1", engine.port, 100.0) is None


async def test_engines_do_not_share_connections(pool: Pool, engine: Engine) -> None:
    await used(pool, engine)
    assert pool.take("127.0.0.1", engine.port + 1, 100.0) is None
    assert pool.take("127.0.0.2", engine.port, 100.0) is None


async def test_nobody_there(pool: Pool, engine: Engine) -> None:
    await engine.stop()
    with pytest.raises(Unreachable) as unreachable:
        await pool.connect("127.0.0.1", engine.port)
    assert unreachable.value.sent is False
