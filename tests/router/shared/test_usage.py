"""Usage adds up to what the engine counted itself: two routers, all dialects, streams, failures, callers who leave.

`DORMOUSE_USAGE_CALLS` says how many calls.
"""

import asyncio
import os
from collections import Counter
from typing import Any

import httpx
import pytest

from dormouse_api.metrics import USAGE_LOST
from tests.router.fakes import until
from tests.router.rawengine import Engine, Exchange
from tests.router.shared import dialects
from tests.router.shared.conftest import ADMIN, Pair, Start
from tests.router.shared.dialects import DIES, FAILS, LEFT, SPEAKS, WAITS, Plan

pytestmark = pytest.mark.slow
CALLS = int(os.environ.get("DORMOUSE_USAGE_CALLS", "600"))
AT_ONCE = 24
DEADLINE = 120.0
KEYS = {name: {"key": f"{name}-0123456789abcdefghijkl", "requestsPerMinute": None} for name in ("ann", "ben", "cleo")}
TURNS = (SPEAKS, SPEAKS, SPEAKS, SPEAKS, LEFT, SPEAKS, FAILS, SPEAKS, LEFT, DIES, SPEAKS, WAITS)
"""What every dozen calls of a dialect have their engine do."""


class Counting:
    """An engine in vLLM's words, with token counters of its own, as vLLM has them."""

    def __init__(self) -> None:
        self.counted = Counter[str]()
        self.came = Counter[int]()

    async def __call__(self, exchange: Exchange) -> None:
        plan = dialects.read(exchange.body)
        self.came[plan.number] += 1
        if plan.what == FAILS:
            await exchange.answer({"error": {"message": "no", "code": 500}}, 500)
        elif plan.what == WAITS:
            await exchange.closed()
        elif exchange.json.get("stream"):
            await self._stream(exchange, plan)
        else:
            await self._whole(exchange, plan)

    def _used(self, plan: Plan, completion: int) -> dict[str, Any]:
        used = {"prompt_tokens": plan.prompt, "completion_tokens": completion, "total_tokens": plan.prompt + completion}
        return used | {"prompt_tokens_details": {"cached_tokens": plan.cached}}

    async def _whole(self, exchange: Exchange, plan: Plan) -> None:
        self.counted.update(prompt=plan.prompt, cached=plan.cached, completion=plan.told)
        message = {"role": "assistant", "content": "word " * plan.told}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        used = self._used(plan, plan.told)
        head: dict[str, Any] = {"id": "c", "object": "chat.completion", "created": 1, "model": "bench"}
        await exchange.answer(head | {"choices": [choice], "usage": used})

    async def _stream(self, exchange: Exchange, plan: Plan) -> None:
        options = exchange.json["stream_options"]
        assert options["include_usage"], "every stream is asked for its usage"
        assert options["continuous_usage_stats"]
        chat = exchange.path.endswith("/chat/completions")
        await exchange.stream_head()
        self.counted.update(prompt=plan.prompt, cached=plan.cached)
        if chat:
            await self._event(exchange, plan, {"delta": {"role": "assistant", "content": ""}}, 0)
        for number in range(plan.told):
            self.counted.update(completion=1)
            text = f"word{number} "
            said = {"delta": {"content": text}} if chat else {"text": text}
            await self._event(exchange, plan, said, number + 1)
        if plan.what == LEFT:
            await exchange.closed()
        elif plan.what == DIES:
            exchange.cut()
        else:
            ends: dict[str, Any] = {"delta": {}} if chat else {"text": ""}
            await self._event(exchange, plan, ends | {"finish_reason": "stop"}, plan.told)
            await exchange.event({"id": "c", "choices": [], "usage": self._used(plan, plan.told)})
            await exchange.finish()

    async def _event(self, exchange: Exchange, plan: Plan, choice: dict[str, Any], completion: int) -> None:
        event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
        choices = [{"index": 0, "finish_reason": None} | choice]
        await exchange.event(event | {"choices": choices, "usage": self._used(plan, completion)})


async def ask(client: httpx.AsyncClient, key: str, plan: Plan, engine: Counting) -> None:
    """One call, as its client would have it."""
    headers = {"x-api-key": key}
    streams, wholes = dialects.streamed(plan.words()), dialects.whole(plan.words())
    stream = plan.what in (LEFT, DIES) or plan.number % 3 > 0
    names = list(streams if stream else wholes)
    path, body = (streams if stream else wholes)[names[plan.number // len(TURNS) % len(names)]]
    if plan.what == WAITS:
        await _leave_before_the_answer(client, path, body, headers, plan, engine)
        return
    async with client.stream("POST", path, json=body, headers=headers) as answer:
        told = b""
        try:
            async for piece in answer.aiter_raw():
                told += piece
                if plan.what == LEFT and f"word{plan.told - 1} ".encode() in told:
                    return
        except httpx.RemoteProtocolError:
            assert plan.what == DIES
    assert plan.what != LEFT, told
    assert (answer.status_code >= 500) is (plan.what == FAILS), told


async def _leave_before_the_answer(
    client: httpx.AsyncClient, path: str, body: Any, headers: dict[str, str], plan: Plan, engine: Counting
) -> None:
    call = asyncio.create_task(client.post(path, json=body, headers=headers))
    await until(lambda: bool(engine.came[plan.number]), DEADLINE)
    call.cancel()
    await asyncio.wait([call])


async def rows(pair: Pair, calls: int) -> list[dict[str, Any]]:
    """The totals, once as many calls are in them."""
    async with asyncio.timeout(DEADLINE):
        while True:
            answer = await pair.clients[0].get("/v1/usage", headers={"x-api-key": ADMIN})
            found: list[dict[str, Any]] = answer.json()["data"]
            if sum(row["requests"] for row in found) >= calls:
                return found
            await asyncio.sleep(0.1)


async def test_usage_adds_up_to_what_the_engine_counted(pair: Start, scripted: Engine) -> None:
    engine = Counting()
    scripted.serve = engine
    plans = [Plan(number, TURNS[number % len(TURNS)]) for number in range(CALLS)]
    names = list(KEYS)
    mine = {plan.number: names[plan.number % 7 % len(names)] for plan in plans}
    async with pair(scripted.port, KEYS) as routers:
        room = asyncio.Semaphore(AT_ONCE)

        async def one(plan: Plan) -> None:
            async with room, asyncio.timeout(DEADLINE):
                key = str(KEYS[mine[plan.number]]["key"])
                await ask(routers.clients[plan.number // 2 % 2], key, plan, engine)

        async with asyncio.TaskGroup() as group:
            for plan in plans:
                group.create_task(one(plan))
        found = await rows(routers, CALLS)
        lost = [(await client.get("/metrics", headers={"x-api-key": ADMIN})).text for client in routers.clients]
    assert set(engine.came.values()) == {1}
    assert sum(row["requests"] for row in found) == CALLS
    kinds = ("prompt", "completion", "cached")
    assert {kind: sum(row[f"{kind}_tokens"] for row in found) for kind in kinds} == dict(engine.counted)
    for name in names:
        own = [plan for plan in plans if mine[plan.number] == name]
        row = {"requests": 0, "completion_tokens": 0} | next(row for row in found if row["caller"].endswith(name))
        assert (row["requests"], row["completion_tokens"]) == (len(own), sum(plan.told for plan in own))
    lines = routers.audit()
    assert len(lines) == CALLS
    assert {kind: sum(line[f"{kind}_tokens"] for line in lines) for kind in kinds} == dict(engine.counted)
    assert Counter(line["status"] for line in lines)[499] == sum(plan.what in (LEFT, WAITS) for plan in plans)
    for text in lost:
        counts = [line for line in text.splitlines() if line.startswith(USAGE_LOST)]
        assert counts
        assert all(line.endswith(" 0.0") for line in counts), counts
