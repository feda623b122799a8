"""What is left after everybody misbehaved at once: nothing. And what many streams cost, and what two routers share."""

import asyncio
import json
import random
import subprocess
import time
from typing import Any

import httpx
import pytest

from bench.routing.bodies import STREAM_CHUNKS
from bench.routing.processes import free_port, python, running
from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import (
    DEADLINE,
    SETTINGS,
    Engine,
    Exchange,
    Stage,
    chat_chunk,
    model,
    slice_of,
    speak,
    until,
)

pytestmark = pytest.mark.slow

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
URL = "/v1/chat/completions"
STREAMS = 200


async def moody(exchange: Exchange) -> None:
    """An engine that stalls, dies before, in and after its answer, or works."""
    mood = random.choice(("work", "work", "work", "die", "cut", "stall", "refuse"))  # noqa: S311
    if mood == "die":
        exchange.cut()
    elif mood == "refuse":
        await exchange.answer({"error": {"message": "no"}}, status=500)
    elif mood == "work" or not exchange.json.get("stream"):
        await speak(exchange)
    else:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        if mood == "stall":
            await asyncio.sleep(0.2)
            await exchange.finish()
        else:
            exchange.cut()


async def rude(world: Stage, stop: float) -> int:
    """A client that sends rubbish, half requests, and leaves whenever it likes. How often it connected."""
    sent = 0
    while time.monotonic() < stop:
        _, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
        body = json.dumps(CHAT | {"stream": True}).encode()
        whole = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (URL.encode(), len(body), body)
        cut = random.choice((len(whole), len(whole), len(whole) - 9, 20, 0))  # noqa: S311
        writer.write(whole[:cut] or b"\0\r\n\r\n")
        await asyncio.sleep(random.random() / 10)  # noqa: S311
        writer.transport.abort()
        sent += 1
    return sent


async def polite(client: httpx.AsyncClient, stop: float) -> list[str]:
    """A client that looks at how each of its answers ended."""
    ends = []
    while time.monotonic() < stop:
        async with client.stream("POST", URL, json=CHAT | {"stream": True}) as answer:
            text = (await answer.aread()).decode()
        error = '"error"' in text
        ends.append("error" if error else "whole" if text.endswith("data: [DONE]\n\n") else f"torn: {text[-200:]!r}")
    return ends


async def test_nothing_is_left_after_rude_clients_and_moody_engines(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engines = [await make_engine(moody) for _ in range(2)]
    await world.awake(*engines)
    tasks_before = len(asyncio.all_tasks())
    stop = time.monotonic() + 2.5
    flapping = asyncio.create_task(_flap(world, engines[0], stop))
    seen = await asyncio.gather(
        *(rude(world, stop) for _ in range(10)), *(polite(client, stop) for _ in range(10)), flapping
    )
    ends = [end for each in seen if isinstance(each, list) for end in each]
    assert sum(each for each in seen if isinstance(each, int)) > 50
    assert set(ends) == {"whole", "error"}
    await client.aclose()
    plane, lives = world.router.plane, world.router.app.lives
    await until(lambda: lives.count == 0 and not any(lane.busy for lane in plane.lanes.values()))
    await until(lambda: world.router.connections == 0)
    assert plane.hold.bytes == 0
    assert all(endpoint.in_flight == 0 for entry in world.router.catalog.entries() for endpoint in entry.endpoints)
    for engine in engines:
        await until(lambda engine=engine: len(engine.open) <= 20)  # type: ignore[misc]
    # the lease keeper, and each engine's kept connections
    await until(lambda: len(asyncio.all_tasks()) <= tasks_before + 1 + sum(len(e.open) for e in engines))


async def _flap(world: Stage, engine: Engine, stop: float) -> None:
    while time.monotonic() < stop:
        world.unready(engine)
        await asyncio.sleep(0.05)
        world.ready(engine)
        await asyncio.sleep(0.05)


async def test_two_routers_share_a_wake_and_lose_only_their_own_calls(engine: Engine) -> None:
    first = Stage(SETTINGS)
    second = Stage(SETTINGS, first.cluster)
    running_ = [asyncio.create_task(each.router.run(each.stop)) for each in (first, second)]
    first.cluster.add_model(model())
    async with httpx.AsyncClient(timeout=DEADLINE) as client:
        for each in (first, second):
            await until(lambda each=each: each.router.catalog.find("tiny") is not None)  # type: ignore[misc]
        calls = [asyncio.create_task(client.post(each.url + URL, json=CHAT)) for each in (first, second, second)]
        await until(lambda: first.router.plane.hold.bytes > 0 and second.router.plane.hold.bytes > 0)
        first.cluster.put(Resource.SLICES, slice_of("tiny", engine.port))
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
        assert len(first.cluster.writes) <= 2
        first.stop.set()
        await running_[0]
        assert (await client.post(second.url + URL, json=CHAT)).status_code == 200
    second.stop.set()
    await running_[1]


def test_what_a_stream_costs_in_memory() -> None:
    """A router process of its own: what it grows by, per stream, while hundreds are open."""
    engine_port, port = free_port(), free_port()
    with (
        running(python("bench.routing.engine", engine_port), 0, engine_port),
        running(python("bench.routing.proxy", port, engine_port), 0, port) as router,
    ):
        _streams(port)  # the first ones also pay for what stays
        idle = router.pss
        client = subprocess.Popen(_client(port), stdout=subprocess.PIPE, text=True)
        peak = idle
        while client.poll() is None:
            peak = max(peak, router.pss)
            time.sleep(0.1)
        said = json.loads(client.communicate()[0])
    assert said["chunks"] == STREAMS * STREAM_CHUNKS
    assert (peak - idle) / STREAMS < 40_000


def _client(port: int) -> list[str]:
    return python("bench.routing.streams", port, STREAMS)


def _streams(port: int) -> None:
    subprocess.run(_client(port), check=True, capture_output=True, timeout=60)
