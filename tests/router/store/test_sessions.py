"""Histories: added to, trimmed, expired, isolated, and never torn; in memory, SQLite, PostgreSQL and Redis alike."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from dormouse_router.keeping import Message, Sessions
from dormouse_router.store.database import Database
from dormouse_router.store.memory import MemorySessions
from dormouse_router.store.sessions import SqlSessions
from dormouse_router.store.valkey import ValkeySessions
from tests.router.fakes import until
from tests.router.store.conftest import SLOW

BACKENDS = ["memory", "sqlite", SLOW, pytest.param("redis", marks=pytest.mark.slow)]
Two = tuple[Sessions, Sessions]


@pytest.fixture(params=BACKENDS)
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Two]:
    """The sessions of two routers over one backend; memory is one router's only."""
    if request.param == "memory":
        alone = MemorySessions()
        yield alone, alone
        return
    async with AsyncExitStack() as stack:
        if request.param == "redis":
            servers = [ValkeySessions(request.getfixturevalue("redis")) for _ in range(2)]
            for server in servers:
                stack.push_async_callback(server.close)
            yield servers[0], servers[1]
            return
        url = f"sqlite:///{tmp_path}/one.db"
        if request.param == "postgresql":
            url = await request.getfixturevalue("postgres").new_database()
        databases = [Database(url), Database(url)]
        for database in databases:
            stack.push_async_callback(database.close)
            await database.prepare()
        yield SqlSessions(databases[0]), SqlSessions(databases[1])


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A session nobody else uses: Redis is one for all tests."""
    return str(request.node.name)


def said(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def turn(number: int) -> list[Message]:
    return [said("user", f"question {number} \u00e9\U0001f600"), said("assistant", f"answer {number}")]


async def test_turns_come_back_in_order_at_any_router(two: Two, name: str) -> None:
    await two[0].append("ann", name, turn(1), 10, 60)
    await two[1].append("ann", name, turn(2), 10, 60)
    assert await two[0].history("ann", name) == turn(1) + turn(2)


async def test_a_tools_message_keeps_every_field(two: Two, name: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    said_by: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    await two[0].append("ann", name, said_by, 10, 60)
    assert await two[1].history("ann", name) == said_by


async def test_only_the_last_are_kept_and_the_system_message(two: Two, name: str) -> None:
    await two[0].append("ann", name, [said("system", "be brief"), *turn(1)], 3, 60)
    await two[0].append("ann", name, turn(2), 3, 60)
    assert await two[0].history("ann", name) == [said("system", "be brief"), turn(1)[1], *turn(2)]
    await two[0].append("ann", name, [said("system", "be long")], 3, 60)
    assert (await two[0].history("ann", name))[0] == said("system", "be long")


async def test_sessions_of_two_keys_are_two(two: Two, name: str) -> None:
    await two[0].append("ann", name, turn(1), 10, 60)
    assert await two[0].history("bob", name) == []
    assert await two[0].history("", name) == []
    assert not await two[0].delete("bob", name)
    assert await two[0].history("ann", name) == turn(1)


async def test_deleted_once(two: Two, name: str) -> None:
    await two[0].append("ann", name, turn(1), 10, 60)
    assert await two[1].delete("ann", name)
    assert not await two[0].delete("ann", name)
    assert await two[0].history("ann", name) == []


async def test_a_session_nobody_uses_is_gone_and_begins_anew(two: Two, name: str) -> None:
    await two[0].append("ann", name, [said("system", "s"), *turn(1)], 10, 0.05)
    async with asyncio.timeout(10):
        while await two[0].history("ann", name):  # noqa: ASYNC110 - time is what is tested
            await asyncio.sleep(0.01)
    assert not await two[0].delete("ann", name)
    await two[0].append("ann", name, turn(2), 10, 60)
    assert await two[0].history("ann", name) == turn(2)


async def test_use_keeps_a_session_alive(two: Two, name: str) -> None:
    loop = asyncio.get_running_loop()
    for life in (0.2, 2.0, 20.0):  # the longer ones where the machine is busy
        await two[0].delete("ann", name)
        began = loop.time()
        await two[0].append("ann", name, turn(1), 10, life)
        await two[0].append("ann", name, turn(2), 10, 60)
        if loop.time() - began < life:
            break
    over = loop.time() + 1.5 * life
    await until(lambda: loop.time() > over, 60)
    assert len(await two[0].history("ann", name)) == 4


async def test_two_routers_at_once_lose_and_mix_nothing(two: Two, name: str) -> None:
    await asyncio.gather(*(two[n % 2].append("ann", name, turn(n), 1000, 60) for n in range(40)))
    history = await two[0].history("ann", name)
    assert len(history) == 80
    pairs = [(history[i]["content"].split()[1], history[i + 1]["content"].split()[1]) for i in range(0, 80, 2)]
    assert all(question == answer for question, answer in pairs)
    assert {int(question) for question, _ in pairs} == set(range(40))


@pytest.mark.slow
async def test_a_redis_that_closed_its_connections_is_used_on(redis: str, name: str) -> None:
    kept, other = ValkeySessions(redis), Redis.from_url(redis)
    await kept.append("ann", name, turn(1), 10, 60)
    await other.client_kill_filter(_type="normal", skipme=True)
    await kept.append("ann", name, turn(2), 10, 60)
    assert await kept.history("ann", name) == turn(1) + turn(2)
    await kept.close()
    await other.aclose()


async def test_memory_is_bounded_in_bytes() -> None:
    kept = MemorySessions(most=1000)
    for number in range(20):
        await kept.append("ann", str(number), [said("user", "x" * 170)], 10, 60)
    assert [n for n in range(20) if await kept.history("ann", str(n))] == [15, 16, 17, 18, 19]


async def test_what_was_given_out_changes_nothing() -> None:
    kept = MemorySessions()
    await kept.append("ann", "s", turn(1), 10, 60)
    (await kept.history("ann", "s"))[0]["content"] = "changed"
    assert await kept.history("ann", "s") == turn(1)
