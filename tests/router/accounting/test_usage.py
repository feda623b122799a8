"""GET /v1/usage over real calls: they add up whatever became of them, and nobody sees what is another's."""

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dormouse_api.metrics import USAGE_LOST
from dormouse_router.accounting.costs import Prices
from dormouse_router.accounting.entries import Key, Total, Usage, Wanted
from dormouse_router.caller import CALLER, Caller, Role
from dormouse_router.dialects.openai import usage as dialect
from dormouse_router.request import Refusal
from dormouse_router.store.database import Database
from dormouse_router.store.memory import in_memory
from dormouse_router.store.memory_usage import MemoryUsage
from dormouse_router.store.usage import SqlUsage
from tests.router.conftest import MakeEngine
from tests.router.fakes import Exchange, Stage, chat_chunk, chat_completion, stage
from tests.router.store.conftest import SLOW, prepared
from tests.router.store.conftest import postgres as postgres

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"
CALLS = int(os.environ.get("DORMOUSE_USAGE_CALLS", "240"))
EVER = Wanted("2000-01-01", "2099-12-31")


async def settled(world: Stage, client: httpx.AsyncClient, requests: int) -> dict[str, Any]:
    """The one row of the model once so many calls are in it."""
    async with asyncio.timeout(20):
        while True:
            rows = (await client.get("/v1/usage")).json()["data"]
            if rows and rows[0]["requests"] >= requests:
                assert len(rows) == 1
                return dict(rows[0])
            await asyncio.sleep(0.05)


async def test_calls_add_up_to_what_the_engine_counted(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def serve(exchange: Exchange) -> None:
        body = exchange.json
        if body.get("user") == "fails":
            await exchange.answer({"error": {"message": "no", "code": 500}}, 500)
        elif not body.get("stream"):
            await exchange.answer(chat_completion("Paris."))
        else:
            await exchange.stream_head()
            await exchange.event(chat_chunk("Paris."))
            told = {"prompt_tokens": 100, "completion_tokens": 30, "total_tokens": 130}
            await exchange.event(chat_chunk("") | {"choices": [], "usage": told})
            await exchange.finish()

    await world.awake(await make_engine(serve))
    for _ in range(3):
        await client.post(URL, json=CHAT)
        await client.post(URL, json=CHAT | {"stream": True})
    await client.post(URL, json=CHAT | {"user": "fails"})
    assert (await client.post(URL, json=CHAT | {"model": "nobody"})).status_code == 404
    row = await settled(world, client, 7)
    assert (row["model"], row["owner"], row["caller"]) == ("default/tiny", "", "")
    assert (row["requests"], row["failed"]) == (7, 1)
    assert (row["prompt_tokens"], row["completion_tokens"]) == (3 * 107, 3 * 32)
    assert row["seconds"] >= row["held_seconds"] == 0.0


@pytest.mark.slow
async def test_mixed_calls_add_up_to_the_last_token(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    """`DORMOUSE_USAGE_CALLS` of them: whole and streamed, failing, and with callers who leave before the answer."""
    counted = Counter[str]()
    never = asyncio.Event()

    async def serve(exchange: Exchange) -> None:
        body = exchange.json
        asked, number = body["user"], int(body["seed"])
        if asked == "leaves":
            await never.wait()
        if asked == "fails":
            await exchange.answer({"error": {"message": "no", "code": 500}}, 500)
            return
        told = {"prompt_tokens": number, "completion_tokens": number + 1, "total_tokens": 2 * number + 1}
        counted.update(prompt=number, completion=number + 1)
        if asked == "whole":
            await exchange.answer(chat_completion("Paris.") | {"usage": told})
            return
        await exchange.stream_head()
        for _ in range(3):
            await exchange.event(chat_chunk("Paris."))
        await exchange.event(chat_chunk("") | {"choices": [], "usage": told})
        await exchange.finish()

    await world.awake(await make_engine(serve))
    gate = asyncio.Semaphore(32)
    wanted = [("whole", "streams", "whole", "fails", "streams", "leaves")[n % 6] for n in range(CALLS)]

    async def one(number: int, asked: str) -> None:
        body = CHAT | {"user": asked, "seed": number, "stream": asked == "streams"}
        async with gate:
            if asked != "leaves":
                await client.post(URL, json=body, timeout=60)
                return
            with contextlib.suppress(httpx.TimeoutException):
                await client.post(URL, json=body, timeout=httpx.Timeout(60, read=0.2))

    await asyncio.gather(*(one(number, asked) for number, asked in enumerate(wanted)))
    row = await settled(world, client, CALLS)
    assert (row["requests"], row["failed"]) == (CALLS, wanted.count("fails"))
    assert (row["prompt_tokens"], row["completion_tokens"]) == (counted["prompt"], counted["completion"])
    text = (await client.get("/metrics")).text
    assert [line for line in text.splitlines() if line.startswith(USAGE_LOST) and not line.endswith(" 0.0")] == []


async def test_a_model_is_asked_for_by_any_of_its_names(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    await world.awake(await make_engine())
    await client.post(URL, json=CHAT)
    row = await settled(world, client, 1)
    for name, rows in (("tiny", [row]), ("default/tiny", [row]), ("nobody", [])):
        assert (await client.get("/v1/usage", params={"model": name})).json()["data"] == rows


async def test_a_router_that_stops_writes_down_its_last_calls(make_engine: MakeEngine) -> None:
    keeping = in_memory()
    async with stage(keeping) as world:
        await world.awake(await make_engine())
        async with httpx.AsyncClient(base_url=world.url) as client:
            await client.post(URL, json=CHAT)
    assert [total.requests for _, total in await keeping.usage.read(EVER)] == [1]


ALICES, BOBS = Key("2026-11-22", "alice", "key:a", "team/qwen"), Key("2026-11-22", "bob", "key:b", "team/qwen")
EARLIER = Key("2026-11-20", "alice", "key:a", "team/other")
NOON = 1_795_348_800.0


@pytest.fixture
async def filled() -> MemoryUsage:
    kept = MemoryUsage()
    await kept.add({ALICES: Total(1, 0, 7, 2, 1.0, 0.0), BOBS: Total(2), EARLIER: Total(3)})
    return kept


async def shown(kept: Usage, caller: Caller | None, **asked: str) -> list[tuple[str, str]]:
    """Day and owner of the rows that the caller is shown."""
    token = CALLER.set(caller)
    try:
        answer = await dialect.Usages(kept, lambda: NOON, Prices(), tuple, str).usage(**asked)
    finally:
        CALLER.reset(token)
    return [(row["day"], row["owner"]) for row in json.loads(bytes(answer.body))["data"]]


@pytest.mark.parametrize(
    ("caller", "asked", "rows"),
    [
        (Caller("key:a", "alice", Role.USER), {}, [("2026-11-22", "alice"), ("2026-11-20", "alice")]),
        (Caller("key:a", "alice", Role.USER), {"owner": "alice", "model": "team/other"}, [("2026-11-20", "alice")]),
        (Caller("key:c", "carol", Role.USER), {}, []),
        (
            Caller("key:o", "olga", Role.OPERATOR),
            {"since": "2026-11-22"},
            [("2026-11-22", "alice"), ("2026-11-22", "bob")],
        ),
        (Caller("key:o", "olga", Role.ADMIN), {"owner": "bob"}, [("2026-11-22", "bob")]),
        (None, {"until": "2026-11-21"}, [("2026-11-20", "alice")]),
        (None, {"limit": "1"}, [("2026-11-22", "alice")]),
        (None, {"since": "2026-11-21", "until": "2026-11-01"}, [("2026-11-20", "alice")]),
    ],
)
async def test_everybody_is_shown_what_they_may_see(
    filled: MemoryUsage, caller: Caller | None, asked: dict[str, str], rows: list[tuple[str, str]]
) -> None:
    assert await shown(filled, caller, **asked) == rows


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"owner": "bob"}, "owner"),
        ({"since": "yesterday"}, "since"),
        ({"until": "2026-13-01"}, "until"),
        ({"limit": "0"}, "limit"),
        ({"limit": "1e3"}, "limit"),
    ],
)
async def test_what_makes_no_sense_or_is_anothers_is_refused(
    filled: MemoryUsage, asked: dict[str, str], param: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await shown(filled, Caller("key:a", "alice", Role.USER), **asked)
    assert refused.value.param == param


@pytest.fixture(params=["sqlite", SLOW])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    async with prepared(request, tmp_path) as made:
        yield made


async def test_sums_are_added_to_sums_by_all_routers(database: Database) -> None:
    routers = [SqlUsage(database) for _ in range(4)]
    total = Total(1, 0, 7, 2, 0.5, 0.25)
    for _ in range(5):
        await asyncio.gather(*(router.add({ALICES: total, BOBS: total, EARLIER: total}) for router in routers))
    rows = await routers[0].read(EVER)
    assert rows == [(key, Total(20, 0, 140, 40, 10.0, 5.0)) for key in (ALICES, BOBS, EARLIER)]


async def test_many_models_are_written_in_one_transaction(database: Database) -> None:
    kept = SqlUsage(database)
    many = {ALICES._replace(model=f"team/{number}"): Total(1) for number in range(1200)}
    await kept.add(many)
    assert len(await kept.read(Wanted("2026-11-22", "2026-11-22", limit=5000))) == 1200
    assert len(await kept.read(Wanted("2026-11-22", "2026-11-22", "alice", "team/7"))) == 1
