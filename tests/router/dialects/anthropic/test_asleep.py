"""Models that sleep: pings while they wake, failures after the first ping, and what wakes nobody."""

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.anthropic.asking import BODY, COUNT, QUESTION, STREAM, URL, refused
from tests.router.dialects.anthropic.streams import told
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Stage, stage, until

pytestmark = pytest.mark.slow


async def test_a_held_stream_is_pinged_until_the_model_is_awake(engine: Engine) -> None:
    async with stage(comment_after=0.02, comment_every=0.02) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        lines: list[str] = []
        async with client.stream("POST", URL, json=STREAM) as answer:
            assert answer.headers["request-id"]
            async for line in answer.aiter_lines():
                lines.append(line)
                if lines.count("event: ping") == 2 and line == "":
                    world.ready(engine)
    assert lines[0] == "event: message_start"
    assert any(line.startswith(": tiny ") for line in lines)
    found = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert found.count({"type": "ping"}) >= 2
    rest = [event for event in found if event != {"type": "ping"}]
    assert told(rest) == [["text", "Par", "is", "."]]


async def test_the_sdk_reads_past_the_pings(engine: Engine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world:
        await world.asleep()
        async with (
            anthropic.AsyncAnthropic(base_url=world.url, api_key="x", max_retries=0) as sdk,
            sdk.messages.stream(model="tiny", max_tokens=9, messages=[QUESTION]) as stream,
        ):
            world.ready(engine)
            assert await stream.get_final_text() == "Paris."


async def test_pings_can_be_declined() -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        call = asyncio.create_task(client.post(URL, json=STREAM, headers={"x-dormouse-comments": "off"}))
        await until(lambda: bool(world.cluster.writes))
        full = known_status(conditions=[condition("Ready", "False", "NoSpace", "Full.")])
        world.cluster.put(Resource.MODELS, model("tiny", status=full))
        assert refused(await call)[:2] == (503, "overloaded_error")


@pytest.mark.parametrize("cause", ["model", "engine", "death"])
async def test_a_failure_after_the_first_ping_is_an_event(make_engine: MakeEngine, cause: str) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no such parser", "code": 400}}, status=400)

    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        async with client.stream("POST", URL, json=STREAM) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)) == "event: message_start"
            if cause == "model":
                full = known_status(conditions=[condition("Ready", "False", "NoSpace", "Full.")])
                world.cluster.put(Resource.MODELS, model("tiny", status=full))
            else:
                world.ready(await make_engine(refuse if cause == "engine" else engines.dies_mid_stream))
            last = json.loads([line async for line in lines if line.startswith("data: ")][-1][6:])
    assert (last["type"], last["request_id"]) == ("error", answer.headers["request-id"])
    kind, words = last["error"]["type"], last["error"]["message"]
    expected = {
        "model": ("overloaded_error", "Full."),
        "engine": ("invalid_request_error", "no such parser"),
        "death": ("api_error", "The answer broke off"),
    }
    assert kind == expected[cause][0]
    assert expected[cause][1] in words


@pytest.mark.parametrize("body", [{**BODY, "temperature": 9}, {**BODY, "messages": []}, {**STREAM, "tools": [{}]}])
async def test_nothing_but_a_good_request_wakes_a_model(world: Stage, client: httpx.AsyncClient, body: Any) -> None:
    await world.asleep()
    for path in (URL, COUNT):
        await client.post(path, json={**body, "tool_choice": {"type": "most"}, "tools": [{}]})
    assert world.cluster.writes == []
