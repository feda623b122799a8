"""Time-outs of POST /chat, clients that leave, and models that sleep."""

import asyncio
import json

import httpx
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.native.chats import PROMPT, STREAM, URL, events, refused, serving, text_of
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Stage, endless, stage, until


@pytest.fixture
async def engine(world: Stage, make_engine: MakeEngine) -> Engine:
    made = await make_engine(engines.paris)
    await serving(world, made)
    return made


# ---------------------------------------------------------------------------------------------------- time and leaving


@pytest.mark.parametrize("stream", [False, True])
async def test_a_time_out_frees_the_engine_and_keeps_nothing(
    client: httpx.AsyncClient, engine: Engine, stream: bool
) -> None:
    for seconds in (0.2, 1.5, 15.5):  # the longer ones where the machine is too busy for a first word in time
        left = asyncio.Event()
        engine.serve = endless(left.set)
        asked = {**PROMPT, "stream": stream, "timeout": seconds, "session_id": "s"}
        answer = await client.post(URL, json=asked)
        if b"Par" in answer.content or (engine.seen and not stream):
            break
    if stream:
        first, last = events(answer)
        assert (first["delta"]["content"], last["status"]) == ("Par", 408)
        assert f"not whole within {seconds} s" in last["error"]
    else:
        status, param, words = refused(answer)
        assert (status, param) == (408, "timeout")
        assert f"within {seconds} s" in words
    async with asyncio.timeout(10):
        await left.wait()
    assert (await client.get("/sessions/s")).status_code == 404


async def test_a_time_out_ends_the_wait_for_a_sleeping_model(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    status, param, _ = refused(await client.post(URL, json={**PROMPT, "timeout": 0.1}))
    assert (status, param) == (408, "timeout")
    await until(lambda: world.router.app.lives.count == 0)


async def test_a_client_that_leaves_ends_the_engines_work(client: httpx.AsyncClient, engine: Engine) -> None:
    left = asyncio.Event()
    engine.serve = endless(left.set)
    async with client.stream("POST", URL, json={**STREAM, "session_id": "s"}) as answer:
        assert json.loads((await anext(answer.aiter_lines()))[6:])["delta"]["content"] == "Par"
    async with asyncio.timeout(10):
        await left.wait()
    assert (await client.get("/sessions/s")).status_code == 404


# ---------------------------------------------------------------------------------------------------- asleep


async def test_a_held_stream_is_told_how_the_wake_goes(make_engine: MakeEngine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep()
        async with client.stream("POST", URL, json=STREAM, timeout=20) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(": tiny ")
            world.ready(await make_engine(engines.paris))
            found = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")]
        assert text_of(found) == "Paris."
        assert found[-1]["load_duration"] > 1


async def test_a_failure_after_the_first_comment_is_an_event() -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        async with client.stream("POST", URL, json=STREAM, timeout=20) as answer:
            lines = answer.aiter_lines()
            assert (await anext(lines)).startswith(": tiny ")
            full = known_status(conditions=[condition("Ready", "False", "NoSpace", "Full.")])
            world.cluster.put(Resource.MODELS, model("tiny", status=full))
            [last] = [json.loads(line[6:]) async for line in lines if line.startswith("data: ")]
    assert last["status"] == 503
    assert "Full." in last["error"]


async def test_comments_can_be_declined(make_engine: MakeEngine) -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model("tiny"))
        call = asyncio.create_task(client.post(URL, json=STREAM, headers={"x-dormouse-comments": "off"}, timeout=20))
        await until(lambda: bool(world.cluster.writes))
        world.ready(await make_engine(engines.paris))
        answer = await call
    assert text_of(events(answer)) == "Paris."
    assert ": tiny" not in answer.text


async def test_a_whole_answer_waits_for_the_wake(make_engine: MakeEngine) -> None:
    async with stage() as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await world.asleep()
        world.wake_with(await make_engine(engines.paris))
        answer = await client.post(URL, json={**PROMPT, "keep_alive": "20m"})
        assert answer.json()["message"]["content"] == "Paris."
        assert answer.json()["load_duration"] > 1
        assert int(answer.headers["x-dormouse-hold-ms"]) >= 0
