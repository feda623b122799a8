"""Every error, before the first byte with its status and after it in-band, and clients that leave."""

import asyncio
import json
from typing import Any

import anthropic
import httpx
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.anthropic.asking import BODY, COUNT, QUESTION, STREAM, URL, events, in_band, refused
from tests.router.dialects.anthropic.streams import ending, told
from tests.router.dialects.engines import HI
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Serve, Stage, endless, stage, until

pytestmark = pytest.mark.slow


# ---------------------------------------------------------------------------------------------------- before the first


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "kind", "words"),
    [
        ("POST", URL, b"", 400, "invalid_request_error", "no body"),
        ("POST", URL, b"{", 400, "invalid_request_error", "not valid JSON"),
        ("POST", URL, {"model": "tiny", "messages": HI}, 400, "invalid_request_error", "max_tokens: Field required"),
        ("POST", URL, {**BODY, "model": "nobody"}, 404, "not_found_error", "The model 'nobody' was not found"),
        ("POST", URL, {**STREAM, "model": "nobody"}, 404, "not_found_error", "The model 'nobody' was not found"),
        ("POST", URL, {**STREAM, "temperature": 9}, 400, "invalid_request_error", "temperature: must be from 0"),
        ("POST", COUNT, {"model": "nobody", "messages": HI}, 404, "not_found_error", "The model 'nobody' was not"),
        ("POST", COUNT, {"model": "tiny"}, 400, "invalid_request_error", "messages: Field required"),
        ("GET", URL, b"", 405, "invalid_request_error", "use POST"),
        ("GET", COUNT, b"", 405, "invalid_request_error", "use POST"),
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error", "/v1/messages/batches"),
        ("GET", "/v1/messages/batches", b"", 404, "not_found_error", "/v1/messages/batches"),
    ],
)
async def test_a_refusal(
    client: httpx.AsyncClient, method: str, path: str, body: Any, status: int, kind: str, words: str
) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body)
    found = refused(await client.request(method, path, content=content, headers={"content-type": "text/plain"}))
    assert found[:2] == (status, kind)
    assert words in found[2]


async def test_too_large_a_body() -> None:
    async with stage(max_body=1000) as world, httpx.AsyncClient(base_url=world.url) as client:
        answer = await client.post(URL, content=b"x" * 1001)
    assert refused(answer)[:2] == (413, "request_too_large")


async def test_a_clients_own_request_id_comes_back(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=BODY, headers={"x-request-id": "mine"})
    assert refused(answer)[:2] == (404, "not_found_error")
    assert (answer.headers["request-id"], answer.headers["x-request-id"]) == ("mine", "mine")


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
async def test_an_engines_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, serving: Engine, body: Any, status: int, kind: str
) -> None:
    async def refuse(exchange: Exchange) -> None:
        error = {"error": {"message": "temperature is odd", "type": "BadRequestError", "code": status}}
        await exchange.answer(error, status, "retry-after: 7\r\n")

    serving.serve = refuse
    answer = await client.post(URL, json=body)
    assert refused(answer) == (status, kind, "temperature is odd")
    assert answer.headers["retry-after"] == "7"


async def test_a_flag_of_the_engine_is_told_as_a_field_of_the_model(client: httpx.AsyncClient, serving: Engine) -> None:
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    serving.serve = engines.refusing(400, {"error": {"message": words, "code": 400}})
    assert "spec.engine.toolCallParser" in refused(await client.post(URL, json=BODY))[2]


async def test_an_answer_longer_than_the_context_is_shortened(client: httpx.AsyncClient, serving: Engine) -> None:
    async def short(exchange: Exchange) -> None:
        if exchange.json["max_tokens"] > 30:
            words = "This model's maximum context length is 50 tokens. However, you requested 50 output tokens "
            words += "and your prompt contains at least 20 input tokens"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = short
    found = events(await client.post(URL, json=STREAM))
    assert (told(found), ending(found)) == ([["text", "Par", "is", "."]], ("end_turn", None))
    assert [exchange.json["max_tokens"] for exchange in serving.seen] == [50, 30]
    serving.serve = engines.refusing(400, {"error": {"message": "maximum context length is 50: 40 input tokens"}})
    assert refused(await client.post(URL, json=BODY))[0] == 400  # it has no room for what it had room for
    serving.serve = engines.refusing(400, {"error": {"message": "maximum context length is 50: 60 in the prompt"}})
    assert refused(await client.post(URL, json=BODY))[0] == 400


async def test_an_engine_that_cannot_count(client: httpx.AsyncClient, serving: Engine) -> None:
    body = {"model": "tiny", "messages": HI}
    serving.serve = engines.refusing(404, {"detail": "Not Found"})
    assert refused(await client.post(COUNT, json=body))[0::2] == (400, "The engine of 'tiny' cannot count tokens.")
    serving.serve = engines.refusing(400, {"error": {"message": "no template", "code": 400}})
    assert refused(await client.post(COUNT, json=body))[0::2] == (400, "no template")
    serving.serve = engines.refusing(200, {"nonsense": 1})
    assert refused(await client.post(COUNT, json=body))[:2] == (502, "api_error")


async def test_a_model_that_failed_is_refused_at_once(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    answer = await client.post(URL, json={**STREAM, "model": "gated"})
    status, kind, words = refused(answer)
    assert (status, kind, answer.headers["x-should-retry"]) == (503, "overloaded_error", "false")
    assert "Accept the licence first." in words


async def test_a_full_hold_and_a_wake_that_takes_too_long(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"], scaling={"maxHeld": 1, "holdSeconds": 600}))
    await engines.known(world)
    held = asyncio.create_task(client.post(URL, json=BODY))
    await until(lambda: world.router.app.lives.count == 1 and bool(world.cluster.writes))
    full = await client.post(URL, json=BODY)
    assert refused(full)[:2] == (429, "rate_limit_error")
    assert int(full.headers["retry-after"]) >= 1
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    late = await client.post(URL, json=BODY, headers={"x-dormouse-hold-seconds": "0"})
    assert refused(late)[:2] == (503, "overloaded_error")
    assert int(late.headers["retry-after"]) >= 1


@pytest.mark.parametrize("body", [BODY, STREAM, {"model": "tiny", "messages": HI}])
async def test_an_engine_that_dies_before_its_answer(client: httpx.AsyncClient, serving: Engine, body: Any) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    serving.serve = die
    answer = await client.post(URL if "max_tokens" in body else COUNT, json=body)
    assert refused(answer)[:2] == (502, "api_error")


async def test_a_silent_engine(make_engine: MakeEngine) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.closed()

    async with stage(silence_timeout=0.1) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await world.awake(await make_engine(silent))
        assert refused(await client.post(URL, json=BODY))[:2] == (504, "timeout_error")


@pytest.mark.parametrize("serve", [engines.dies_mid_stream, engines.paris])
async def test_an_answer_that_breaks_off_or_cannot_be_read_is_no_message(
    client: httpx.AsyncClient, serving: Engine, serve: Serve
) -> None:
    serving.serve = serve  # it streams although it was not asked to
    assert refused(await client.post(URL, json=BODY))[:2] == (502, "api_error")


# ---------------------------------------------------------------------------------------------------- after the first


@pytest.mark.parametrize(
    ("serve", "words"),
    [(engines.dies_mid_stream, "The answer broke off"), (engines.fails_mid_stream, "out of blocks")],
)
async def test_a_failure_mid_stream_is_the_last_event(
    client: httpx.AsyncClient, serving: Engine, sdk: anthropic.AsyncAnthropic, serve: Serve, words: str
) -> None:
    serving.serve = serve
    answer = await client.post(URL, json=STREAM)
    kinds = [event["type"] for event in events(answer)]
    assert kinds == ["message_start", "content_block_start", "content_block_delta", "error"]
    kind, text = in_band(answer)
    assert kind == "api_error"
    assert words in text
    with pytest.raises(anthropic.APIStatusError, match=words):
        async with sdk.messages.stream(model="tiny", max_tokens=9, messages=[QUESTION]) as stream:
            await stream.get_final_message()


async def test_a_failure_that_is_the_first_word_has_its_status(client: httpx.AsyncClient, serving: Engine) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event({"error": {"message": "no room", "type": "X", "code": 503}})
        await exchange.finish()

    serving.serve = fail
    assert refused(await client.post(URL, json=STREAM)) == (503, "overloaded_error", "no room")


async def test_a_client_that_leaves_ends_the_engines_work(client: httpx.AsyncClient, serving: Engine) -> None:
    left = asyncio.Event()

    serving.serve = endless(left.set)
    async with client.stream("POST", URL, json=STREAM) as answer:
        assert (await anext(answer.aiter_lines())) == "event: message_start"
    async with asyncio.timeout(10):
        await left.wait()
