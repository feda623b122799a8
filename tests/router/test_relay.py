"""Between engine and client, over real sockets: nothing is lost, nothing ends silently, nobody waits for the dead."""

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from dormouse_router.cluster import Resource
from tests.router.conftest import MakeEngine
from tests.router.fakes import (
    Engine,
    Exchange,
    Stage,
    chat_chunk,
    chat_completion,
    endless,
    in_two,
    model,
    speak,
    stage,
    until,
)

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
STREAM = CHAT | {"stream": True}
URL = "/v1/chat/completions"


def in_flight(world: Stage) -> int:
    lane = world.router.plane.lanes.get(("default", "tiny"))
    return lane.in_flight if lane is not None else 0


async def events(answer: httpx.Response) -> list[str]:
    return [line[6:] async for line in answer.aiter_lines() if line.startswith("data: ")]


async def test_a_stream_arrives_byte_for_byte_however_it_was_cut(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    said = b"".join(b"data: %b\n\n" % json.dumps(chat_chunk(word)).encode() for word in ("Zoë", "日本", "!" * 70_000))
    said += b"data: [DONE]\n\n"

    async def crumbs(exchange: Exchange) -> None:
        await exchange.stream_head()
        for start in range(0, len(said), 4099):
            await exchange.chunk(said[start : start + 4099])
        await exchange.raw(b"0\r\n\r\n")

    await world.awake(await make_engine(crumbs))
    pieces = []
    async with client.stream("POST", URL, json=STREAM) as answer:
        async for piece in answer.aiter_raw():
            piece.decode()  # never half a character
            pieces.append(piece)
    assert b"".join(pieces) == said


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
async def test_the_first_word_comes_before_the_last_is_said(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, line_end: str
) -> None:
    heard = asyncio.Event()

    async def wait_for_the_client(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.chunk(f"data: {json.dumps(chat_chunk('Par'))}{line_end * 2}".encode())
        await heard.wait()
        await exchange.chunk(f"data: {json.dumps(chat_chunk('is'))}{line_end * 2}".encode())
        await exchange.finish()

    await world.awake(await make_engine(wait_for_the_client))
    async with client.stream("POST", URL, json=STREAM) as answer:
        lines = answer.aiter_lines()
        assert "Par" in await anext(lines)
        heard.set()
        rest = [line async for line in lines]
    assert rest[-2] == "data: [DONE]"


async def test_an_engine_that_dies_in_a_stream_ends_it_with_an_error_event(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await exchange.chunk(b'data: {"half')
        exchange.cut()

    await world.awake(await make_engine(die))
    async with client.stream("POST", URL, json=STREAM) as answer:
        assert answer.status_code == 200
        said = await events(answer)
    assert "Par" in said[0]
    error = json.loads(said[1])["error"]
    assert (error["type"], error["code"]) == ("server_error", "engine_lost")
    assert len(said) == 2
    assert in_flight(world) == 0
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"], stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [chunk async for chunk in stream]


async def test_an_engine_that_dies_in_a_whole_answer_is_a_502(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{")
        exchange.cut()

    await world.awake(await make_engine(die))
    answer = await client.post(URL, json=CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_lost")


async def test_a_kept_connection_that_went_stale_is_not_the_callers_problem(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engine = await make_engine()
    await world.awake(engine)
    assert (await client.post(URL, json=CHAT)).status_code == 200
    once = asyncio.Event()

    async def close_unasked(exchange: Exchange) -> None:
        if not once.is_set():
            once.set()
            exchange.cut()  # it read the request on a kept connection and closed: the race of every keep-alive
        else:
            await speak(exchange)

    engine.serve = close_unasked
    assert (await client.post(URL, json=CHAT)).status_code == 200
    assert len(engine.seen) == 3


async def test_kept_connections_are_used_again(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.awake(engine)
    for _ in range(5):
        assert (await client.post(URL, json=CHAT)).status_code == 200
        assert b"[DONE]" in (await client.post(URL, json=STREAM)).content
    assert engine.connections == 1


async def test_an_engine_that_closes_after_each_answer(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    engine = await make_engine(requests_per_connection=1)
    await world.awake(engine)
    for _ in range(5):
        assert (await client.post(URL, json=CHAT)).status_code == 200


async def test_a_request_that_kills_engines_is_not_sent_to_a_third(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    engines = [await make_engine(die) for _ in range(3)]
    await world.awake(*engines)
    answer = await client.post(URL, json=CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_unreachable")
    assert sum(len(engine.seen) for engine in engines) == 2


async def test_an_answer_that_is_not_http(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine) -> None:
    async def mumble(exchange: Exchange) -> None:
        await exchange.raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    await world.awake(await make_engine(mumble))
    assert (await client.post(URL, json=CHAT)).status_code == 502


async def test_a_body_without_a_length_ends_with_the_connection(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def old(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.0 200 OK\r\n\r\n" + json.dumps(chat_completion("Paris.")).encode())

    await world.awake(await make_engine(old, requests_per_connection=1))
    assert (await client.post(URL, json=CHAT)).json() == chat_completion("Paris.")


async def test_a_silent_engine_is_given_up(make_engine: MakeEngine) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.closed()

    async with stage(silence_timeout=0.1) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await world.awake(await make_engine(silent))
        answer = await client.post(URL, json=CHAT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "engine_timeout")


async def test_a_client_that_leaves_cancels_its_engine_within_100_ms(world: Stage, make_engine: MakeEngine) -> None:
    closed: asyncio.Queue[float] = asyncio.Queue()

    await world.awake(await make_engine(endless(lambda: closed.put_nowait(time.monotonic()))))
    for body in (CHAT, STREAM):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
        content = json.dumps(body).encode()
        head = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (URL.encode(), len(content))
        writer.write(head + content)
        await until(lambda: in_flight(world) == 1)
        if body is STREAM:
            await reader.readuntil(b"Par")
        await asyncio.sleep(0.08)  # older than the age from which clients are watched
        left = time.monotonic()
        writer.transport.abort()
        async with asyncio.timeout(5):
            assert await closed.get() - left < 0.1
        await until(lambda: in_flight(world) == 0)
    assert world.router.app.lives.count == 0


async def test_a_client_that_reads_slowly_slows_its_engine(world: Stage, make_engine: MakeEngine) -> None:
    """Nothing piles up in the router: the engine is paused, and the stream is whole in the end."""
    piece = b"data: " + b"x" * 100_000 + b"\n\n"
    count = 400
    written = 0

    async def flood(exchange: Exchange) -> None:
        nonlocal written
        await exchange.stream_head()
        for _ in range(count):
            await exchange.chunk(piece)
            written += 1
        await exchange.finish()

    await world.awake(await make_engine(flood))
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port, limit=2**16)
    content = json.dumps(STREAM).encode()
    writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (URL.encode(), len(content), content))
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while written != before:  # until the engine stands still
        before = written
        await asyncio.sleep(0.2)
    assert written < count / 2
    size = 0
    while not (data := await reader.read(1 << 20)).endswith(b"0\r\n\r\n"):
        size += len(data)
    assert size > count * len(piece) - (1 << 20)
    writer.close()
    await writer.wait_closed()


async def test_calls_that_begin_alike_meet_but_do_not_pile_up(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    free = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await free.wait()
        await speak(exchange)

    engines = [await make_engine(slow) for _ in range(3)]
    await world.awake(*engines)
    calls = [asyncio.create_task(client.post(URL, json=CHAT)) for _ in range(9)]
    await until(lambda: sum(len(engine.seen) for engine in engines) == 9)
    assert sorted(len(engine.seen) for engine in engines) == [1, 4, 4]  # 4: 9 / 3 engines x 1.25, rounded up
    free.set()
    assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_an_engine_that_cannot_be_reached_is_passed_over(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    dead, alive = await make_engine(), await make_engine()
    await world.awake(dead, alive)
    await dead.stop()
    answers = [await client.post(URL, json=CHAT) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(alive.seen) == 6


async def test_usage_is_counted_from_the_tail(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine) -> None:
    async def with_usage(exchange: Exchange) -> None:
        if not exchange.json.get("stream"):
            await exchange.answer(chat_completion("Paris."))
            return
        await exchange.stream_head()
        await exchange.event(chat_chunk("Paris.") | {"usage": None})
        usage = {"prompt_tokens": 100, "total_tokens": 130, "completion_tokens": 30}
        await exchange.event(chat_chunk("") | {"choices": [], "usage": usage})
        await exchange.finish()

    await world.awake(await make_engine(with_usage))
    await client.post(URL, json=CHAT)
    await client.post(URL, json=STREAM)
    metrics = (await client.get("/metrics")).text
    assert 'dormouse_tokens_total{kind="prompt",model="default/tiny"} 107.0' in metrics
    assert 'dormouse_tokens_total{kind="completion",model="default/tiny"} 32.0' in metrics


async def test_a_stream_outlives_the_order_to_stop(make_engine: MakeEngine) -> None:
    said = asyncio.Event()

    async with stage(drain_delay=0.3) as world, httpx.AsyncClient(timeout=20) as client:
        await world.awake(await make_engine(in_two(said)))
        async with client.stream("POST", world.url + URL, json=STREAM) as answer:
            lines = answer.aiter_lines()
            assert "Par" in await anext(lines)
            assert (await client.get(f"{world.ops}/readyz")).status_code == 200
            world.stop.set()
            await until(lambda: world.router.unready() == "stopping")
            assert (await client.get(f"{world.ops}/readyz")).status_code == 503
            assert (await client.get(f"{world.ops}/livez")).status_code == 200
            said.set()
            rest = [line async for line in lines]
        assert rest[-2] == "data: [DONE]"
    assert any(wish.duration > 30 for _, _, wish in world.cluster.writes)


async def test_a_model_deleted_in_the_middle_of_its_answer(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    said = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        await said.wait()
        await speak(exchange)

    await world.awake(await make_engine(slow))
    call = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: in_flight(world) == 1)
    world.cluster.remove(Resource.MODELS, "default", "tiny")
    await until(lambda: world.router.catalog.find("tiny") is None)
    said.set()
    assert (await call).status_code == 200
    await until(lambda: not world.router.plane.lanes)
    assert model()["metadata"]["name"] == "tiny"
