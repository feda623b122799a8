"""What is tried again, over real sockets: in which phase it fails, on a kept connection or a new one.

Every case calls engine A, which misbehaves, while engine B is well; the session decides that A is asked first.
"""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from dormouse_router.catalog.catalog import Endpoint
from dormouse_router.dataplane import health, hold
from dormouse_router.dataplane.balance import Ring
from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Serve, Stage, chat_chunk, model, speak, stage, until

pytestmark = pytest.mark.slow

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"


async def lost(exchange: Exchange) -> None:
    exchange.cut()


async def not_http(exchange: Exchange) -> None:
    await exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def half_a_head(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-le")
    exchange.cut()


async def silent(exchange: Exchange) -> None:
    await exchange.closed()


async def head_only(exchange: Exchange) -> None:
    await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n")
    exchange.cut()


async def half_a_body(exchange: Exchange) -> None:
    await exchange.raw(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"id":')
    exchange.cut()


async def half_a_stream(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    exchange.cut()


def says(status: int) -> Serve:
    async def serve(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": f"I say {status}.", "type": "x", "code": status}}, status)

    return serve


def endpoint_of(world: Stage, engine: Engine) -> Endpoint:
    entry = world.router.catalog.find("tiny")
    assert entry is not None
    return next(endpoint for endpoint in entry.endpoints if endpoint.port == engine.port)


def session_of(world: Stage, engine: Engine) -> dict[str, str]:
    """A session that the ring gives to this engine."""
    entry = world.router.catalog.find("tiny")
    assert entry is not None
    ring = Ring(entry.endpoints)
    found = (
        key for key in map("s{}".format, range(1000)) if ring.pick(key.encode(), 0.0) is endpoint_of(world, engine)
    )
    return {"x-dormouse-session": next(found)}


ANOTHER, SAME, NOBODY = "another", "same", "nobody"


@pytest.mark.parametrize(
    ("phase", "kept", "status", "asked_again", "passed_over"),
    [
        # before the first byte, on a new connection: another is asked, and this one passed over
        (lost, False, 200, ANOTHER, True),
        (not_http, False, 200, ANOTHER, True),
        (half_a_head, False, 200, ANOTHER, True),
        # on a kept one: the engine may have closed it in time, so it is asked once more, on a new connection
        (lost, True, 200, SAME, True),
        (not_http, True, 200, SAME, True),
        (half_a_head, True, 200, SAME, True),
        # it has the request and is at work, or was: never twice
        (silent, False, 504, NOBODY, False),
        (silent, True, 504, NOBODY, False),
        (head_only, False, 502, NOBODY, False),
        (head_only, True, 502, NOBODY, False),
        (half_a_body, False, 502, NOBODY, False),
        (half_a_body, True, 502, NOBODY, False),
        (half_a_stream, False, 200, NOBODY, False),
        (half_a_stream, True, 200, NOBODY, False),
        # an answer is an answer
        (says(400), False, 400, NOBODY, False),
        (says(500), False, 500, NOBODY, False),
        (says(502), True, 502, NOBODY, False),
        (says(503), False, 503, NOBODY, False),
        (says(503), True, 503, NOBODY, False),
    ],
)
async def test_what_is_tried_again(
    make_engine: MakeEngine, phase: Serve, kept: bool, status: int, asked_again: str, passed_over: bool
) -> None:
    timeout = 0.15 if phase is silent else 60.0
    async with stage(silence_timeout=timeout) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        a, b = await make_engine(), await make_engine()
        await world.awake(a, b)
        session = session_of(world, a)
        if kept:
            assert (await client.post(URL, json=CHAT, headers=session)).status_code == 200
        a.serve, before = phase, len(a.seen)
        body = CHAT | {"stream": phase is half_a_stream}
        answer = await client.post(URL, json=body, headers=session)
        assert answer.status_code == status
        if phase is half_a_stream:
            assert '"code":"engine_lost"' in answer.text.replace(" ", "")
        asked = {NOBODY: (1, 0), ANOTHER: (1, 1), SAME: (2, 1)}[asked_again]
        assert (len(a.seen) - before, len(b.seen)) == asked
        assert (endpoint_of(world, a).failures > 0) is passed_over
        assert all(endpoint_of(world, engine).in_flight == 0 for engine in (a, b))


async def test_a_stale_kept_connection_is_no_failure(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    a, b = await make_engine(), await make_engine()
    await world.awake(a, b)
    session = session_of(world, a)
    await asyncio.gather(*(client.post(URL, json=CHAT, headers=session) for _ in range(8)))
    kept = len(a.open)
    assert kept > 1

    async def lost_if_kept(exchange: Exchange) -> None:
        if a.connections > kept:
            await speak(exchange)
        else:
            exchange.cut()

    a.serve, before = lost_if_kept, len(a.seen)
    assert (await client.post(URL, json=CHAT, headers=session)).status_code == 200
    assert len(a.seen) - before == 2  # the others it had kept were not tried one by one: they are closed
    assert endpoint_of(world, a).failures == 0
    await until(lambda: len(a.open) == 1)


async def test_nobody_there_is_not_a_lost_request(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    """A request that never left may be tried on any number of engines."""
    engines = [await make_engine() for _ in range(5)]
    await world.awake(*engines)
    for engine in engines[1:]:
        await engine.stop()
    session = session_of(world, engines[2])
    assert (await client.post(URL, json=CHAT, headers=session)).status_code == 200
    assert len(engines[0].seen) == 1


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EADDRNOTAVAIL])
async def test_a_router_out_of_files_blames_no_engine(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    a, b = await make_engine(), await make_engine()
    await world.awake(a, b)
    loop = asyncio.get_running_loop()
    connect = loop.create_connection

    async def full(protocol: Any, host: str, port: int, **more: Any) -> Any:
        if port in (a.port, b.port):
            raise OSError(number, os.strerror(number))
        return await connect(protocol, host, port, **more)

    monkeypatch.setattr(loop, "create_connection", full)
    answer = await client.post(URL, json=CHAT)
    monkeypatch.undo()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "router_overloaded")
    assert answer.headers["retry-after"] == "1"
    assert [endpoint_of(world, engine).failures for engine in (a, b)] == [0, 0]
    assert (await client.post(URL, json=CHAT)).status_code == 200


async def test_an_engine_that_is_back_is_asked_again(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FIRST_SECONDS", 0.05)
    a, b = await make_engine(lost), await make_engine()
    await world.awake(a, b)
    session = session_of(world, a)
    assert (await client.post(URL, json=CHAT, headers=session)).status_code == 200
    a.serve = speak
    endpoint = endpoint_of(world, a)
    await until(lambda: world.router.plane.clock() > endpoint.avoid_until)
    assert (await client.post(URL, json=CHAT, headers=session)).status_code == 200
    assert (len(a.seen), len(b.seen), endpoint.failures) == (2, 1, 0)
    metrics = (await client.get("/metrics")).text
    assert 'dormouse_engines_passed_over_total{model="default/tiny"} 1.0' in metrics


# ------------------------------------------------------------------ the only engine there is


def count_connects(world: Stage) -> list[tuple[str, int]]:
    """Every attempt to connect from now on."""
    tries: list[tuple[str, int]] = []
    pool = world.router.plane.pool
    connect: Callable[[str, int], Awaitable[Any]] = pool.connect

    async def counted(host: str, port: int) -> Any:
        tries.append((host, port))
        return await connect(host, port)

    pool.connect = counted  # type: ignore[method-assign]
    return tries


async def test_many_who_wait_for_the_only_engine_send_one_to_look(
    world: Stage, client: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FIRST_SECONDS", 0.2)
    await world.awake(engine)
    port = engine.port
    await engine.stop()
    tries = count_connects(world)
    calls = [asyncio.create_task(client.post(URL, json=CHAT)) for _ in range(30)]
    endpoint = endpoint_of(world, engine)
    await until(lambda: endpoint.failures >= 3)
    assert len(tries) <= 30 + endpoint.failures  # those that came together, and then one at a time
    assert world.router.plane.lanes["default", "tiny"].held
    await engine.start(port)
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}
    assert endpoint.failures == 0


async def test_the_only_engine_that_stays_away_is_given_up(
    world: Stage, client: httpx.AsyncClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(health, "REACH_SECONDS", 0.4)
    monkeypatch.setattr(hold, "REACH_SECONDS", 0.4)
    await world.awake(engine)
    await engine.stop()
    tries = count_connects(world)
    answers = await asyncio.gather(*(client.post(URL, json=CHAT) for _ in range(30)))
    assert {(answer.status_code, answer.json()["error"]["code"]) for answer in answers} == {(502, "engine_unreachable")}
    assert all(answer.headers["retry-after"] for answer in answers)
    assert len(tries) < 30 + 30  # not thirty times a round
    assert world.cluster.wish() is not None


async def test_one_that_stays_away_and_is_replaced_costs_only_time(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    """The pod died, the cluster has not noticed yet; a new one comes: the held call goes there at once."""
    old, new = await make_engine(), await make_engine()
    world.cluster.add_model(model())
    await world.awake(old)
    await old.stop()
    call = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: endpoint_of(world, old).failures > 0)
    began = world.router.plane.clock()
    world.ready(new)
    assert (await call).status_code == 200
    assert world.router.plane.clock() - began < health.FIRST_SECONDS
    assert len(new.seen) == 1
