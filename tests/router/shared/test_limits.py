"""Limits over two router processes and a real Redis: within 5 % of what one router lets in, and what holds without."""

import asyncio
import time
from collections import Counter
from typing import Any

import httpx
import pytest

from tests.router.rawengine import Engine, Exchange, chat_completion
from tests.router.shared.conftest import Pair, Start
from tests.router.store.conftest import redis as redis

pytestmark = pytest.mark.slow
DEADLINE = 120.0
NONE: dict[str, Any] = {"requestsPerMinute": None}
TRIES = 6
"""Keys of each kind: a minute of the clock may end in the middle, and lets everybody in again."""
KINDS = {
    "many": {"requestsPerMinute": 120},
    "words": {"tokensPerMinute": 1800} | NONE,
    "few": {"concurrent": 8} | NONE,
}
KEYS = {
    f"{kind}{number}": {"key": f"{kind}{number}-0123456789abcdefghijkl"} | limits
    for kind, limits in KINDS.items()
    for number in range(TRIES)
}
TOKENS = 9
"""Of one call."""
MESSAGES = [{"role": "user", "content": "Capital of France?"}]


async def ask(client: httpx.AsyncClient, name: str) -> int:
    body = {"model": "bench", "messages": MESSAGES}
    headers = {"x-api-key": KEYS[name]["key"]}
    return (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code


async def in_turn(routers: Pair, kind: str, calls: int, at_once: int) -> Counter[int]:
    """Statuses of so many calls within one minute, to either router by turns."""
    room = asyncio.Semaphore(at_once)

    async def one(number: int, name: str) -> int:
        async with room:
            return await ask(routers.clients[number % 2], name)

    for attempt in range(TRIES):
        minute = time.time() // 60
        found = Counter(await asyncio.gather(*(one(number, f"{kind}{attempt}") for number in range(calls))))
        if time.time() // 60 == minute:
            return found
    pytest.fail("the machine is too slow for so many calls within a minute")


async def test_two_routers_let_in_what_one_may(pair: Start, scripted: Engine) -> None:
    gate, running = asyncio.Event(), 0

    async def serve(exchange: Exchange) -> None:
        nonlocal running
        running += 1
        await gate.wait()
        await exchange.answer(chat_completion("Paris."))

    scripted.serve = serve
    async with pair(scripted.port, KEYS) as routers:
        held = [asyncio.create_task(ask(routers.clients[number % 2], "few0")) for number in range(16)]
        async with asyncio.timeout(DEADLINE):
            while sum(task.done() for task in held) + running < len(held):  # noqa: ASYNC110 - two things to wait for
                await asyncio.sleep(0.01)
            assert running == 8, "as many at a time as the limit says, on both together"
            gate.set()
            assert Counter(await asyncio.gather(*held)) == {200: 8, 429: 8}
            found = await in_turn(routers, "many", 150, 8)
            assert 0.95 * 120 <= found[200] <= 120
            assert found[429] == 150 - found[200]
            found = await in_turn(routers, "words", 260, 4)
            assert 1800 <= found[200] * TOKENS <= 1800 * 1.05 + 4 * TOKENS
            assert found[429] == 260 - found[200]


async def test_without_a_server_each_router_has_the_limit_for_itself(pair: Start, scripted: Engine) -> None:
    async with pair(scripted.port, KEYS, DORMOUSE_ACCESS_LIMITS="memory") as routers:
        assert (await in_turn(routers, "many", 260, 8))[200] == 2 * 120
