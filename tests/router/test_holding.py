"""Calls that wait for their model, over real sockets: one wake, bounds, causes, comments, and callers that leave."""

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from dormouse_api.demand import FIRST_TOKEN_TOLD
from dormouse_router.cluster import ClusterError, Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import AT_ONCE, Engine, Exchange, Stage, model, slice_of, speak, stage, until

pytestmark = pytest.mark.slow

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"
ALL_RELEASED = 30.0
"""Seconds: how fast many go is measured by bench/router, not here."""


def held(world: Stage, name: str = "tiny") -> int:
    lane = world.router.plane.lanes.get(("default", name))
    return len(lane.held) if lane is not None else 0


async def test_twenty_callers_cause_one_wake_and_all_get_answers(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.asleep()
    calls = [asyncio.create_task(client.post(URL, json=CHAT)) for _ in range(20)]
    await until(lambda: held(world) == 20)
    demand = (await client.get(f"{world.ops}/demand")).json()["models"]["default/tiny"]
    assert (demand["in_flight"], demand["held"]) == (0, 20)
    assert demand["oldest_wait_seconds"] >= 0
    world.ready(engine)
    answers = await asyncio.gather(*calls)
    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == ["Paris."] * 20
    assert len(world.cluster.writes) == 1
    metrics = (await client.get(f"{world.ops}/metrics")).text
    assert 'dormouse_wakes_total{model="default/tiny"} 1.0' in metrics
    assert 'dormouse_requests_total{code="200",dialect="openai",model="default/tiny"} 20.0' in metrics
    assert 'dormouse_requests_held{model="default/tiny"} 0.0' in metrics
    assert (await client.get(f"{world.ops}/demand")).json() == {"models": {}}


async def test_the_first_token_of_a_held_stream_is_told_for_a_while(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    async def stream() -> None:
        async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
            assert (await answer.aread()).endswith(b"data: [DONE]\n\n")

    await world.asleep()
    call = asyncio.create_task(stream())
    await until(lambda: held(world) == 1)
    assert (await client.get(f"{world.ops}/demand")).json()["models"]["default/tiny"]["first_token_ago_seconds"] is None
    before = world.router.plane.clock()
    world.ready(engine)
    await call
    lane = world.router.plane.lanes["default", "tiny"]
    first = lane.first_token
    assert first is not None
    assert before <= first <= world.router.plane.clock()
    told = (await client.get(f"{world.ops}/demand")).json()["models"]["default/tiny"]
    assert (told["in_flight"], told["held"]) == (0, 0)
    assert 0 <= told["first_token_ago_seconds"] <= world.router.plane.clock() - first + 0.001
    await stream()  # awake now: no wake's first token
    assert lane.first_token == first
    lane.first_token = first - FIRST_TOKEN_TOLD - 1
    assert (await client.get(f"{world.ops}/demand")).json() == {"models": {}}


async def test_a_failure_reaches_held_callers_at_once(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep(model(reason="Pulling", message="Pulling 3%."))
    calls = [asyncio.create_task(client.post(URL, json=CHAT)) for _ in range(5)]
    await until(lambda: held(world) == 5)
    world.cluster.put(Resource.MODELS, model(reason="Gated", message="Accept the licence at the hub."))
    async with asyncio.timeout(AT_ONCE):
        answers = await asyncio.gather(*calls)
    for answer in answers:
        assert answer.status_code == 503
        assert "Accept the licence at the hub." in answer.json()["error"]["message"]
        assert answer.json()["error"]["code"] == "Gated"
        assert answer.headers["x-should-retry"] == "false"
    writes = len(world.cluster.writes)
    again = await client.post(URL, json=CHAT)
    assert again.status_code == 503
    assert len(world.cluster.writes) == writes


async def test_a_failure_that_may_pass_names_a_time_to_come_back(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep(model(reason="RateLimited", message="The hub asked for a pause."))
    answer = await client.post(URL, json=CHAT)
    assert answer.status_code == 503
    assert "x-should-retry" not in answer.headers
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) >= 1000
    assert world.cluster.writes == []


async def test_a_model_deleted_while_held(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep()
    call = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: held(world) == 1)
    world.cluster.remove(Resource.MODELS, "default", "tiny")
    answer = await call
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    await until(lambda: not world.router.plane.lanes)


async def test_more_callers_than_may_be_held(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.asleep(model(scaling={"maxHeld": 2}))
    calls = [asyncio.create_task(client.post(URL, json=CHAT)) for _ in range(2)]
    await until(lambda: held(world) == 2)
    refused = await client.post(URL, json=CHAT)
    assert refused.status_code == 429
    assert "maxHeld" in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1
    world.ready(engine)
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_more_bytes_than_may_be_held() -> None:
    async with stage(held_bytes=1000) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        refused = await client.post(URL, json=CHAT | {"user": "x" * 1000})
        assert refused.status_code == 429
        assert world.cluster.reads == 0


async def test_time_is_up(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep(model(scaling={"holdSeconds": 1}))
    answer = await client.post(URL, json=CHAT)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_loading"
    assert "retry-after" in answer.headers


async def test_the_wake_goes_on_when_the_caller_leaves(world: Stage, engine: Engine) -> None:
    await world.asleep()
    async with httpx.AsyncClient(base_url=world.url) as client:
        call = asyncio.create_task(client.post(URL, json=CHAT))
        await until(lambda: held(world) == 1)
        call.cancel()
    await until(lambda: held(world) == 0)
    lane = world.router.plane.lanes["default", "tiny"]
    assert lane.busy
    world.ready(engine)
    await until(lambda: not lane.busy)
    # whoever comes next finds it awake: the last word will be the model's own idleSeconds
    ends = await world.router.plane.awake_until(world.router.plane.find("tiny"))
    assert ends is not None
    assert ends - time.time() > 50
    assert engine.seen == []


async def test_a_held_stream_is_told_how_it_goes(engine: Engine) -> None:
    async with stage(comment_after=0.05, comment_every=0.05) as world, httpx.AsyncClient(base_url=world.url) as client:
        starts = [{"at": "2026-01-01T00:00:00Z", "seconds": 40, "engine": "vllm", "stages": []}]
        await world.asleep(model(status={"coldStarts": starts}))
        lines: list[str] = []
        async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                lines.append(line)
                if len([said for said in lines if said.startswith(":")]) == 2:
                    world.ready(engine)
        comments = [line for line in lines if line.startswith(":")]
        assert comments[0] == ": tiny Waking waited=0s eta=40s"
        assert lines[-2:] == ["data: [DONE]", ""]


async def test_the_sdk_reads_past_the_comments(engine: Engine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world:
        await world.asleep()
        async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
            stream = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"], stream=True)
            world.ready(engine)
            words = [chunk.choices[0].delta.content async for chunk in stream]
    assert "".join(word or "" for word in words) == "Paris."


async def test_comments_can_be_declined(engine: Engine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        headers = {"x-dormouse-comments": "off"}
        call = asyncio.create_task(client.post(URL, json=CHAT | {"stream": True}, headers=headers))
        await until(lambda: held(world) == 1)
        world.cluster.put(Resource.MODELS, model(reason="NoSpace", message="Full."))
        assert (await call).status_code == 503


async def test_a_failure_after_the_first_comment_is_an_event(engine: Engine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(":")
            world.cluster.put(Resource.MODELS, model(reason="NoSpace", message="Full."))
            rest = [line async for line in lines]
        error = json.loads(next(line for line in rest if line.startswith("data:"))[5:])["error"]
        assert "Full." in error["message"]
        assert error["code"] == "NoSpace"


async def test_an_engines_refusal_after_the_first_comment_is_an_event(make_engine: MakeEngine) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "no such parser", "code": 400}}, status=400)

    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(":")
            world.ready(await make_engine(refuse))
            rest = [line async for line in lines]
        assert "no such parser" in next(line for line in rest if line.startswith("data:"))


async def test_a_call_during_scale_down_is_held_and_answered(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    first = await make_engine()
    await world.awake(first)
    assert (await client.post(URL, json=CHAT)).status_code == 200
    await first.stop()  # the pod is gone, and the endpoints do not say so yet
    call = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: held(world) == 1)
    world.cluster.put(Resource.SLICES, slice_of("tiny", first.port, ready=False))
    await until(lambda: world.endpoints() == 0)
    world.ready(await make_engine())
    assert (await call).json()["choices"][0]["message"]["content"] == "Paris."
    assert int((await call).headers["x-dormouse-hold-ms"]) >= 0
    assert len(world.cluster.writes) >= 1


async def test_the_api_server_being_away_does_not_lose_a_held_call(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.asleep()
    world.cluster.faults = [ClusterError(0, "refused"), ClusterError(403, "role not found"), ClusterError(500, "oops")]
    world.wake_with(engine)
    assert (await client.post(URL, json=CHAT)).status_code == 200
    world.cluster.break_down()
    assert (await client.post(URL, json=CHAT)).status_code == 200
    world.cluster.come_back()


async def test_a_router_restarted_while_the_model_sleeps_knows_it(engine: Engine) -> None:
    async with stage() as world, httpx.AsyncClient(base_url=world.url) as client:
        assert (await client.post(URL, json=CHAT)).status_code == 404
        await world.asleep()
        world.wake_with(engine)
        assert (await client.post(URL, json=CHAT)).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/api/tags", "/api/ps", "/health", "/metrics", "/", "/api/version"])
async def test_looking_wakes_nothing(world: Stage, client: httpx.AsyncClient, path: str) -> None:
    await world.asleep()
    assert (await client.get(path)).status_code == 200
    assert world.cluster.writes == []
    assert held(world) == 0


async def test_many_held_calls_are_released_at_once(world: Stage, engine: Engine) -> None:
    async def call() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
        body = json.dumps(CHAT).encode()
        writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (URL.encode(), len(body), body))
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")

    await world.asleep()
    calls = [asyncio.create_task(call()) for _ in range(300)]
    await until(lambda: held(world) == 300)
    world.ready(engine)
    async with asyncio.timeout(ALL_RELEASED):
        await asyncio.gather(*calls)
    assert len(world.cluster.writes) == 1
    assert speak is engine.serve
