"""Engines that fail or refuse, models that sleep, clients that leave: over real sockets."""

import asyncio
import json
import time
from typing import Any

import httpx
import ollama
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.engines import BODY, HI, lines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Stage, endless, until

# ---------------------------------------------------------------------------------------------------- engines that fail


@pytest.mark.parametrize(
    ("serve", "words"), [(engines.dies_mid_stream, ""), (engines.fails_mid_stream, "out of blocks")]
)
async def test_a_failure_mid_stream_is_the_last_line(
    client: httpx.AsyncClient, sdk: ollama.AsyncClient, serving: Engine, serve: Any, words: str
) -> None:
    serving.serve = serve
    first, last = lines(await client.post("/api/chat", json=BODY))
    assert first["message"]["content"] == "Par"
    assert list(last) == ["error"]
    assert words in last["error"]
    whole = await client.post("/api/chat", json={**BODY, "stream": False})
    assert whole.status_code == 502
    assert words in whole.json()["error"]
    with pytest.raises(ollama.ResponseError):
        async for _ in await sdk.chat(model="tiny", messages=HI, stream=True):
            pass


@pytest.mark.parametrize(("status", "told"), [(400, 400), (500, 500), (404, 500)])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engines_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, serving: Engine, status: int, told: int, stream: bool
) -> None:
    serving.serve = engines.refusing(status, {"error": {"message": "temperature is odd", "code": status}})
    answer = await client.post("/api/chat", json={**BODY, "stream": stream})
    assert (answer.status_code, answer.json()) == (told, {"error": "temperature is odd"})


async def test_a_conversation_that_is_too_long_loses_its_oldest_turns(sdk: ollama.AsyncClient, serving: Engine) -> None:
    async def short(exchange: Exchange) -> None:
        if len(exchange.json["messages"]) > 2:
            words = "This model's maximum context length is 512 tokens. However, your prompt contains 600"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = short
    turns = [{"role": "system", "content": "s"}]
    turns += [{"role": "user" if i % 2 == 0 else "assistant", "content": str(i)} for i in range(9)]
    whole = await sdk.chat(model="tiny", messages=turns)
    assert whole.message.content == "Paris."
    assert [turn["content"] for turn in serving.seen[-1].json["messages"]] == ["s", "8"]


async def test_a_failed_model_is_refused_at_once_with_its_message(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    answer = await client.post("/api/chat", json={"model": "gated", "messages": HI})
    assert answer.status_code == 503
    assert "Accept the licence first." in answer.json()["error"]


async def test_a_full_queue_is_a_busy_server(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"], scaling={"maxHeld": 1}))
    await engines.known(world)
    held = asyncio.create_task(client.post("/api/chat", json=BODY))
    await until(lambda: world.router.app.lives.count == 1 and bool(world.cluster.writes))
    refused = await client.post("/api/chat", json=BODY)
    assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
    assert refused.json()["error"].startswith("server busy, please try again.  maximum pending requests exceeded")
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)


# ---------------------------------------------------------------------------------------------------- sleep and wake


async def asleep(world: Stage, make_engine: MakeEngine) -> Engine:
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    world.wake_with(engine, name="tiny-chat")
    return engine


async def test_a_chat_wakes_a_sleeping_model_and_counts_the_wait(
    world: Stage, sdk: ollama.AsyncClient, make_engine: MakeEngine
) -> None:
    await asleep(world, make_engine)
    whole = await sdk.chat(model="tiny", messages=HI, keep_alive="20m")
    assert whole.message.content == "Paris."
    assert 0 < (whole.load_duration or 0) <= (whole.total_duration or 0)
    running = (await sdk.ps()).models[0]
    assert running.expires_at is not None
    assert 1190 < running.expires_at.timestamp() - time.time() <= 1200


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_load_and_unload(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str) -> None:
    engine = await asleep(world, make_engine)
    loaded = (await client.post(path, json={"model": "tiny", "keep_alive": -1})).json()
    assert (loaded["done"], loaded["done_reason"], loaded["model"]) == (True, "load", "tiny")
    assert loaded.get("response", "") == "" == loaded.get("message", {}).get("content", "")
    running = (await client.get("/api/ps")).json()["models"]
    assert [(entry["name"], entry["expires_at"]) for entry in running] == [
        ("tiny-chat:latest", "2318-01-01T00:00:00Z"),
        ("tiny:latest", "2318-01-01T00:00:00Z"),
    ]
    unloaded = (await client.post(path, json={"model": "tiny", "keep_alive": 0})).json()
    assert unloaded["done_reason"] == "unload"
    await until(lambda: world.cluster.writes[-1][2].ends <= time.time())
    assert engine.seen == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {**BODY, "format": 1}),
        ("/api/chat", {**BODY, "options": {"seed": "x"}}),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "robot"}]}),
        ("/api/generate", {"model": "tiny", "prompt": "x", "context": [1]}),
        ("/api/generate", {"model": "tiny", "keep_alive": "x"}),
        ("/api/show", {"model": "tiny"}),
        ("/api/embed", {"model": "tiny", "input": 7}),
    ],
)
async def test_nothing_but_a_good_request_wakes_a_model(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str, body: Any
) -> None:
    await asleep(world, make_engine)
    await client.post(path, json=body)
    for read in ("/", "/api/tags", "/api/ps", "/api/version", "/api/status"):
        assert (await client.get(read)).status_code == 200
    assert world.cluster.writes == []


async def test_a_client_that_leaves_ends_the_engines_work(world: Stage, serving: Engine) -> None:
    left = asyncio.Event()

    serving.serve = endless(left.set)
    async with (
        httpx.AsyncClient(base_url=world.url, timeout=20) as client,
        client.stream("POST", "/api/chat", json=BODY) as answer,
    ):
        async for line in answer.aiter_lines():
            assert json.loads(line)["message"]["content"] == "Par"
            break
    async with asyncio.timeout(10):
        await left.wait()
