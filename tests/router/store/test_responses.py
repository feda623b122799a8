"""Responses: kept, replaced, followed, expired, and nobody else's; in memory, SQLite and PostgreSQL alike."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from dormouse_router.keeping import MAX_CHAIN, Responses, StoredResponse
from dormouse_router.store.memory import MemoryResponses
from dormouse_router.store.responses import SqlResponses
from tests.router.store.conftest import NOW, SLOW, Clock, prepared

ONE = StoredResponse("resp_1", "ann", None, NOW, b'{"id":"resp_1"}', b"[]")


@pytest.fixture(params=["memory", "sqlite", SLOW])
async def responses(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[Responses]:
    if request.param == "memory":
        yield MemoryResponses(clock)
        return
    async with prepared(request, tmp_path) as database:
        yield SqlResponses(database, clock)


async def test_what_is_put_comes_back_whole(responses: Responses) -> None:
    whole = replace(ONE, previous_id="resp_0", body=bytes(range(256)), expires_at=NOW + 1)
    await responses.put(whole)
    assert await responses.get("resp_1", "ann") == whole
    assert await responses.get("resp_2", "ann") is None


async def test_a_second_put_replaces(responses: Responses) -> None:
    await responses.put(ONE)
    await responses.put(replace(ONE, body=b"new"))
    found = await responses.get("resp_1", "ann")
    assert found is not None
    assert found.body == b"new"


async def test_nobody_elses_can_be_read_changed_or_deleted(responses: Responses) -> None:
    await responses.put(ONE)
    assert await responses.get("resp_1", "bob") is None
    assert await responses.chain("resp_1", "bob") is None
    assert not await responses.delete("resp_1", "bob")
    await responses.put(replace(ONE, owner="bob", body=b"theirs"))
    assert await responses.get("resp_1", "ann") == ONE


async def test_deleted_once(responses: Responses) -> None:
    await responses.put(ONE)
    assert await responses.delete("resp_1", "ann")
    assert not await responses.delete("resp_1", "ann")
    assert await responses.get("resp_1", "ann") is None


async def test_expired_is_gone(responses: Responses, clock: Clock) -> None:
    await responses.put(replace(ONE, expires_at=NOW + 10))
    clock.now = NOW + 9
    assert await responses.get("resp_1", "ann") is not None
    clock.now = NOW + 10
    assert await responses.get("resp_1", "ann") is None
    assert await responses.chain("resp_1", "ann") is None
    assert not await responses.delete("resp_1", "ann")


@pytest.mark.parametrize(
    "ident", ["", "\0", "resp_\0", "\ud800", "\u2028é", "x" * 100_000, "'; DROP TABLE responses; --"]
)
async def test_an_id_that_can_be_none_is_not_there(responses: Responses, ident: str) -> None:
    await responses.put(ONE)
    assert await responses.get(ident, "ann") is None
    assert await responses.chain(ident, "ann") is None
    assert not await responses.delete(ident, "ann")
    assert await responses.get("resp_1", "ann") == ONE


async def test_a_chain_is_oldest_first(responses: Responses) -> None:
    for number in range(1, 5):
        previous = f"resp_{number - 1}" if number > 1 else None
        await responses.put(replace(ONE, id=f"resp_{number}", previous_id=previous))
    chain = await responses.chain("resp_3", "ann")
    assert chain is not None
    assert [link.id for link in chain] == ["resp_1", "resp_2", "resp_3"]


@pytest.mark.parametrize("lost", ["deleted", "expired", "another's"])
async def test_a_chain_with_a_lost_link_is_none(responses: Responses, clock: Clock, lost: str) -> None:
    owner, expires_at = ("bob" if lost == "another's" else "ann"), (NOW - 1 if lost == "expired" else None)
    await responses.put(replace(ONE, owner=owner, expires_at=expires_at))
    await responses.put(replace(ONE, id="resp_2", previous_id="resp_1"))
    if lost == "deleted":
        await responses.delete("resp_1", "ann")
    assert await responses.chain("resp_2", "ann") is None


async def test_a_chain_in_a_circle_ends(responses: Responses) -> None:
    await responses.put(replace(ONE, previous_id="resp_2"))
    await responses.put(replace(ONE, id="resp_2", previous_id="resp_1"))
    assert await responses.chain("resp_1", "ann") is None
    assert MAX_CHAIN == 1000


async def test_memory_is_bounded_in_bytes() -> None:
    kept = MemoryResponses(lambda: NOW, most=100)
    for number in range(10):
        await kept.put(replace(ONE, id=str(number), body=b"x" * 28))
        await kept.get("0", "ann")
    there = [number for number in range(10) if await kept.get(str(number), "ann") is not None]
    assert there == [0, 8, 9]
