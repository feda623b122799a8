"""An engine that goes: its calls finish, it gets no new ones, and no connection to it is left over."""

import asyncio
from typing import Any

import httpx
import pytest

from dormouse_router.cluster import Object, Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, slice_of, speak, until

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"


def slice_with(engine: Engine, **conditions: bool) -> Object:
    made = slice_of("tiny", engine.port)
    made["endpoints"][0]["conditions"] = conditions
    return made


def idle(world: Stage, engine: Engine) -> int:
    """Kept connections to the engine."""
    return len(world.router.plane.pool._idle.get(("127.0.0.1", engine.port), ()))


class Slow:
    """An engine whose every answer waits to be let go in the middle."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await self.go.wait()
        await exchange.event(chat_chunk("is."))
        await exchange.finish()


@pytest.mark.parametrize(
    "conditions",
    [
        {"ready": False, "serving": True, "terminating": True},
        {"ready": False, "serving": False, "terminating": True},
        {"ready": True, "serving": True, "terminating": True},  # publishNotReadyAddresses
        {"ready": False, "serving": False, "terminating": False},
    ],
)
async def test_one_that_goes_finishes_its_calls_and_gets_no_new_ones(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, conditions: dict[str, bool]
) -> None:
    slow = Slow()
    going, staying = await make_engine(), await make_engine()
    await world.awake(going)
    await asyncio.gather(*(client.post(URL, json=CHAT) for _ in range(4)))
    assert idle(world, going) > 0
    going.serve = slow
    async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
        lines = answer.aiter_lines()
        assert "Par" in await anext(lines)
        world.ready(staying)
        world.cluster.put(Resource.SLICES, slice_with(going, **conditions))
        await until(lambda: world.endpoints() == 1 and len(going.open) == 1)  # the idle ones at once
        before = len(going.seen)
        assert {(await client.post(URL, json=CHAT)).status_code for _ in range(6)} == {200}
        assert (len(going.seen), len(staying.seen)) == (before, 6)
        slow.go.set()
        rest = [line async for line in lines]
    assert rest[-2] == "data: [DONE]"
    await until(lambda: not going.open)  # and the last one when its call ended
    assert idle(world, going) == 0
    assert idle(world, staying) > 0


async def test_one_whose_slice_is_deleted_is_let_go(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.awake(engine)
    assert (await client.post(URL, json=CHAT)).status_code == 200
    assert len(engine.open) == 1
    world.cluster.remove(Resource.SLICES, "default", f"tiny-{engine.port}")
    await until(lambda: not engine.open)


async def test_the_engines_of_a_deleted_model_are_let_go(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    await world.awake(engine)
    assert (await client.post(URL, json=CHAT)).status_code == 200
    world.cluster.remove(Resource.MODELS, "default", "tiny")
    await until(lambda: not engine.open)


async def test_one_that_comes_back_is_still_known_to_be_busy(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    slow = Slow()
    a, b = await make_engine(slow), await make_engine()
    await world.awake(a)
    calls = [asyncio.create_task(client.post(URL, json=CHAT | {"stream": True})) for _ in range(3)]
    await until(lambda: len(a.seen) == 3)
    world.unready(a)
    await until(lambda: world.endpoints() == 0)
    world.ready(a, b)
    await until(lambda: world.endpoints() == 2)
    entry = world.router.catalog.find("tiny")
    assert entry is not None
    assert {endpoint.port: endpoint.in_flight for endpoint in entry.endpoints} == {a.port: 3, b.port: 0}
    assert not any(endpoint.gone for endpoint in entry.endpoints)
    assert entry.leaving == ()
    for _ in range(2):
        assert (await client.post(URL, json=CHAT)).status_code == 200
    assert (len(a.seen), len(b.seen)) == (3, 2)
    slow.go.set()
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
    a.serve = speak
    assert idle(world, a) > 0  # and its connections are kept again


async def test_calls_that_meet_an_engine_on_its_way_out_are_not_lost(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    """Between SIGTERM and the router's knowing of it an engine refuses: whoever was sent there goes elsewhere."""
    old, new = await make_engine(), await make_engine()
    await world.awake(old, new)
    calls = []
    for number in range(60):
        calls.append(asyncio.create_task(client.post(URL, json=CHAT)))
        if number == 20:
            await until(lambda: len(old.seen) + len(new.seen) > 5)
            await old.stop()
        if number == 40:
            world.cluster.put(Resource.SLICES, slice_with(old, ready=False, serving=True, terminating=True))
        await asyncio.sleep(0)
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
