"""Answers made in the background: polled, followed, cancelled, deleted, bounded, and what a stop does to them."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import openai
import pytest
from openai.types.responses import Response

from dormouse_router.dialects.openai.responses import background
from dormouse_router.keeping import Keeping, headers_owner
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.openai.responses.events import CREATED, TEXT, kinds, parsed
from tests.router.fakes import DEADLINE, Exchange, Stage, chat_chunk, endless, stage

URL = "/v1/responses"
ASK: dict[str, Any] = {"model": "tiny", "input": "Capital of France?", "background": True}
OWNER = headers_owner({"authorization": "Bearer any"})
UNFINISHED = ("queued", "in_progress")


class Gate:
    """An engine whose answer's second half waits for `go_on`."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await self.go_on.wait()
        await exchange.event(chat_chunk("is.", finish="stop"))
        await engines.finish(exchange)


@pytest.fixture
async def gate(world: Stage, make_engine: MakeEngine) -> Gate:
    made = Gate()
    await world.awake(await make_engine(made))
    return made


async def ended(sdk: openai.AsyncOpenAI, ident: str) -> Response:
    """The response, once it is."""
    async with asyncio.timeout(DEADLINE):
        while (found := await sdk.responses.retrieve(ident)).status in UNFINISHED:  # noqa: ASYNC110 - it is polled
            await asyncio.sleep(0.01)
    return found


async def test_it_is_polled(sdk: openai.AsyncOpenAI, gate: Gate) -> None:
    made = await sdk.responses.create(**ASK)
    assert (made.status, made.background, made.output) == ("queued", True, [])
    assert (await sdk.responses.retrieve(made.id)).status in UNFINISHED
    with pytest.raises(openai.BadRequestError, match="not finished yet"):
        await sdk.responses.create(model="tiny", input="and?", previous_response_id=made.id)
    gate.go_on.set()
    done = await ended(sdk, made.id)
    assert (done.status, done.output_text, done.id) == ("completed", "Paris.", made.id)
    assert done.usage is not None
    assert done.usage.total_tokens == 10


async def test_it_is_followed_and_followed_again(
    sdk: openai.AsyncOpenAI, client: httpx.AsyncClient, gate: Gate
) -> None:
    stream = await sdk.responses.create(**ASK, stream=True)
    first = [await anext(stream) for _ in range(5)]
    assert [event.type for event in first] == [*CREATED, *TEXT(1)[:3]]
    begun: Any = first[0]
    await stream.close()  # it goes on
    again = await sdk.responses.retrieve(begun.response.id, stream=True, starting_after=3)
    assert (await anext(again)).sequence_number == 4
    gate.go_on.set()
    rest = [event async for event in again]
    assert [event.sequence_number for event in rest] == list(range(5, 5 + len(rest)))
    assert rest[-1].type == "response.completed"
    assert (await ended(sdk, begun.response.id)).output_text == "Paris."
    replayed = await client.get(f"{URL}/{begun.response.id}", params={"stream": "true"})
    assert kinds(parsed(replayed.content)) == [*CREATED, *TEXT(1), "response.completed"]


async def test_who_follows_is_told_that_it_goes_on(
    client: httpx.AsyncClient, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "QUIET_SECONDS", 0.01)
    told = b""
    async with client.stream("POST", URL, json=ASK | {"stream": True}) as answer:
        async for piece in answer.aiter_raw():
            told += piece
            if told.count(background.COMMENT) > 1:
                gate.go_on.set()
    events = parsed(told.replace(background.COMMENT, b""))
    assert kinds(events) == [*CREATED, *TEXT(2), "response.completed"]


async def test_one_that_is_too_long_to_be_followed_says_so(
    sdk: openai.AsyncOpenAI, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MOST_EVENTS", 1)
    gate.go_on.set()
    events: list[Any] = [event async for event in await sdk.responses.create(**ASK, stream=True)]
    assert [event.type for event in events] == [*CREATED, "error"]
    assert [event.sequence_number for event in events] == [0, 1, 2]
    assert (await ended(sdk, events[0].response.id)).output_text == "Paris."


async def test_one_that_was_not_streamed_cannot_be_followed(
    sdk: openai.AsyncOpenAI, client: httpx.AsyncClient, gate: Gate
) -> None:
    made = await sdk.responses.create(**ASK)
    refused = await client.get(f"{URL}/{made.id}", params={"stream": "true"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "stream")
    gate.go_on.set()
    await ended(sdk, made.id)


async def test_it_is_cancelled(sdk: openai.AsyncOpenAI, world: Stage, make_engine: MakeEngine) -> None:
    left = asyncio.Event()
    await world.awake(engine := await make_engine(endless(left.set)))
    made = await sdk.responses.create(**ASK)
    async with asyncio.timeout(DEADLINE):
        while not engine.seen:  # noqa: ASYNC110 - the engine is not ours to signal
            await asyncio.sleep(0.005)
        assert (await sdk.responses.cancel(made.id)).status == "cancelled"
        await left.wait()  # the engine has its slot again
    assert (await sdk.responses.retrieve(made.id)).status == "cancelled"
    assert (await sdk.responses.cancel(made.id)).status == "cancelled"  # again changes nothing


async def test_one_that_has_ended_stays_as_it_is(sdk: openai.AsyncOpenAI, gate: Gate) -> None:
    gate.go_on.set()
    made = await sdk.responses.create(**ASK)
    await ended(sdk, made.id)
    assert (await sdk.responses.cancel(made.id)).status == "completed"


async def test_deleted_it_ends(sdk: openai.AsyncOpenAI, world: Stage, make_engine: MakeEngine) -> None:
    await world.awake(await make_engine(endless()))
    made = await sdk.responses.create(**ASK)
    await sdk.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(made.id)


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (engines.refusing(400, {"error": {"message": "no such luck", "code": 400}}), "no such luck"),
        (engines.dies_mid_stream, "The answer broke off"),
        (engines.fails_mid_stream, "out of blocks"),
    ],
)
async def test_it_fails(sdk: openai.AsyncOpenAI, world: Stage, make_engine: MakeEngine, serve: Any, words: str) -> None:
    await world.awake(await make_engine(serve))
    made = await sdk.responses.create(**ASK)
    failed = await ended(sdk, made.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert words in failed.error.message
    events = [event async for event in await sdk.responses.create(**ASK, stream=True)]
    assert [event.type for event in events[-2:]] == ["error", "response.failed"]


async def test_a_sleeping_model_is_woken_for_it(sdk: openai.AsyncOpenAI, world: Stage, make_engine: MakeEngine) -> None:
    engine = await make_engine(engines.paris)
    await world.asleep()
    world.wake_with(engine)
    made = await sdk.responses.create(**ASK)
    assert (await ended(sdk, made.id)).output_text == "Paris."


async def test_it_must_be_kept(client: httpx.AsyncClient, gate: Gate) -> None:
    gate.go_on.set()
    refused = await client.post(URL, json=ASK | {"store": False})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "background")


class TestOneAtATime:
    @pytest.fixture
    async def world(self, keeping: Keeping) -> AsyncIterator[Stage]:
        async with stage(keeping, background_most=1) as made:
            yield made

    async def test_more_are_refused(self, sdk: openai.AsyncOpenAI, gate: Gate) -> None:
        made = await sdk.responses.create(**ASK)
        with pytest.raises(openai.RateLimitError) as refused:
            await sdk.responses.create(**ASK)
        assert refused.value.response.headers["retry-after"] == "5"
        gate.go_on.set()
        await ended(sdk, made.id)


async def test_a_router_that_stops_finishes_what_it_can(
    sdk: openai.AsyncOpenAI, world: Stage, gate: Gate, keeping: Keeping
) -> None:
    made = await sdk.responses.create(**ASK)
    world.stop.set()
    asyncio.get_running_loop().call_later(0.05, gate.go_on.set)
    assert (await _kept(keeping, made.id))["status"] == "completed"


class TestHurried:
    @pytest.fixture
    async def world(self, keeping: Keeping) -> AsyncIterator[Stage]:
        async with stage(keeping, drain_seconds=0.05) as made:
            yield made

    async def test_what_is_left_has_failed(
        self, sdk: openai.AsyncOpenAI, world: Stage, gate: Gate, keeping: Keeping
    ) -> None:
        made = await sdk.responses.create(**ASK)
        world.stop.set()
        failed = await _kept(keeping, made.id)
        assert failed["status"] == "failed"
        assert "was stopped" in failed["error"]["message"]
        gate.go_on.set()


async def _kept(keeping: Keeping, ident: str) -> dict[str, Any]:
    """The response in the store, once it has ended."""
    async with asyncio.timeout(DEADLINE):
        while True:
            stored = await keeping.responses.get(ident, OWNER)
            assert stored is not None
            response: dict[str, Any] = msgspec.json.decode(stored.body)
            if response["status"] not in UNFINISHED:
                return response
            await asyncio.sleep(0.01)


async def test_one_whose_router_is_gone_has_failed(
    sdk: openai.AsyncOpenAI, world: Stage, make_engine: MakeEngine, keeping: Keeping
) -> None:
    await world.awake(await make_engine(endless()))
    made = await sdk.responses.create(**ASK)
    stored = await keeping.responses.get(made.id, OWNER)
    assert stored is not None
    response = msgspec.json.decode(stored.body)
    lost = "resp_" + "f" * 32
    body = msgspec.json.encode(response | {"id": lost, "beat": time.time() - 61})
    await keeping.responses.put(replace(stored, id=lost, body=body))
    failed = await sdk.responses.retrieve(lost)
    assert failed.status == "failed"
    assert failed.error is not None
    assert "is gone" in failed.error.message
    assert (await sdk.responses.retrieve(made.id)).status in UNFINISHED
    await sdk.responses.cancel(made.id)


async def test_another_router_cancels_it(sdk: openai.AsyncOpenAI, gate: Gate, keeping: Keeping) -> None:
    """Two routers on one store: what the other one cancelled is not overwritten by the end of it."""
    stream = await sdk.responses.create(**ASK, stream=True)
    begun: Any = await anext(stream)
    ident = begun.response.id
    async with stage(keeping) as other, httpx.AsyncClient(base_url=other.url) as elsewhere:
        elsewhere.headers["authorization"] = "Bearer any"
        assert (await elsewhere.post(f"{URL}/{ident}/cancel")).json()["status"] == "cancelled"
        gate.go_on.set()
        last: Any = [event async for event in stream][-1]
        assert (last.type, last.response.status) == ("response.failed", "cancelled")
        assert (await elsewhere.get(f"{URL}/{ident}")).json()["status"] == "cancelled"
