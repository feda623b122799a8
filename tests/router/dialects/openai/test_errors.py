"""Every error in OpenAI's envelope: before the first byte with its status, after it in-band; what the headers say."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.engines import HI
from tests.router.dialects.openai.streams import DONE, chunks, delta, saying, sse
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Stage, stage, until

URL = "/v1/chat/completions"
CHAT: dict[str, Any] = {"model": "tiny-chat", "messages": HI}
STREAM = {**CHAT, "stream": True}
QUESTIONS: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Capital of France?"}]
LONG = (
    "This model's maximum context length is 64 tokens. However, your prompt contains at least 65 input tokens, which "
    "exceeds this limit even without any output tokens. Please reduce the length of the input prompt."
)
GONE = "The model `x` does not exist."
INVALID = "invalid_request_error"
PARSER = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'


def vllm(status: int, message: str, kind: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": status}}


def refused(answer: httpx.Response) -> tuple[int, dict[str, Any]]:
    """Status and error; the envelope has its four keys, and strings in them."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["openai-version"] == "2020-10-01"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert list(body) == ["error"]
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert all(value is None or isinstance(value, str) for value in body["error"].values())
    return answer.status_code, body["error"]


@pytest.mark.parametrize("body", [CHAT, STREAM])
@pytest.mark.parametrize(
    ("said", "status", "kind", "param", "code"),
    [
        (vllm(400, "bad top_k", "BadRequestError", "top_k"), 400, INVALID, "top_k", None),
        (vllm(400, LONG, "BadRequestError", "input_tokens"), 400, INVALID, "messages", "context_length_exceeded"),
        (vllm(400, "odd", "Bad Request", "body.messages.0.role"), 400, INVALID, "messages[0].role", None),
        (vllm(401, "who?", "Unauthorized"), 401, INVALID, None, None),
        (vllm(403, "no", "Forbidden"), 403, INVALID, None, None),
        (vllm(404, GONE, "NotFoundError"), 404, INVALID, None, "model_not_found"),
        (vllm(409, "twice", "Conflict"), 409, INVALID, None, None),
        (vllm(413, "large", "X"), 413, INVALID, None, None),
        (vllm(422, "odd", "UnprocessableEntityError", "n"), 422, INVALID, "n", None),
        (vllm(429, "busy", "TooManyRequests"), 429, "requests", None, "rate_limit_exceeded"),
        (vllm(500, "oh", "InternalServerError"), 500, "server_error", None, None),
        (vllm(503, "later", "ServiceUnavailableError"), 503, "service_unavailable", None, None),
        ({"error": {"message": "ours", "code": "engine_failed"}}, 500, "server_error", None, "engine_failed"),
        ({"object": "error", "message": "flat", "type": "X", "code": 400}, 400, INVALID, None, None),
        ({"detail": "a bare word"}, 400, INVALID, None, None),
        ({"error": "a bare string"}, 500, "server_error", None, None),
        (b"<html>not JSON", 502, "server_error", None, None),
        (b"", 500, "server_error", None, None),
    ],
)  # fmt: skip
async def test_an_engines_error(
    client: httpx.AsyncClient,
    serving: Engine,
    body: Any,
    said: Any,
    status: int,
    kind: str,
    param: str | None,
    code: str | None,
) -> None:
    serving.serve = engines.refusing(status, said)
    found, error = refused(await client.post(URL, json=body))
    assert (found, error["type"], error["param"], error["code"]) == (status, kind, param, code)
    words = said if isinstance(said, bytes) else next(iter(said.values()))
    expected = (
        words.decode() if isinstance(words, bytes) else words.get("message") if isinstance(words, dict) else words
    )
    if said == b"":
        expected = "The engine answered 500."
    assert error["message"] == ("flat" if expected == "error" else expected)


@pytest.mark.parametrize("said", [vllm(404, "Not Found", "Not Found"), {"detail": "Method Not Allowed"}, b""])
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_route_that_the_engine_has_not(
    client: httpx.AsyncClient, serving: Engine, said: Any, status: int
) -> None:
    """No 404, which clients take for an unknown model, and no 501, which SDKs send again."""
    serving.serve = engines.refusing(status, said)
    found, error = refused(await client.post("/tokenize", json={"model": "tiny", "prompt": "x"}))
    assert (found, error["code"], error["param"]) == (400, "model_not_supported", "model")
    assert error["message"].startswith("The engine of 'tiny' has no /tokenize for this model")


async def test_a_flag_of_the_engine_is_told_with_the_field_of_the_model(
    client: httpx.AsyncClient, serving: Engine
) -> None:
    serving.serve = engines.refusing(400, vllm(400, PARSER, "BadRequestError"))
    message = refused(await client.post(URL, json=CHAT))[1]["message"]
    assert message.startswith(PARSER)
    assert "spec.engine.toolCallParser" in message


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [("/v1/completions", {"prompt": "x"}, "prompt"), (URL, {"messages": HI}, "messages")],
)
async def test_what_is_too_long_is_named(
    client: httpx.AsyncClient, serving: Engine, path: str, body: Any, param: str
) -> None:
    serving.serve = engines.refusing(400, vllm(400, LONG, "BadRequestError", "input_tokens"))
    error = refused(await client.post(path, json={"model": "tiny", **body}))[1]
    assert (error["code"], error["param"], error["message"]) == ("context_length_exceeded", param, LONG)


@pytest.mark.parametrize(
    ("status", "headers", "after"),
    [
        (429, "", ("1", "1000")),
        (503, "retry-after: 7\r\n", ("7", "7000")),
        (503, "retry-after: 7\r\nretry-after-ms: 6500\r\n", ("7", "6500")),
        (500, "", None),
    ],
)
async def test_who_is_busy_says_when_to_come_back(
    client: httpx.AsyncClient, serving: Engine, status: int, headers: str, after: tuple[str, str] | None
) -> None:
    async def busy(exchange: Exchange) -> None:
        await exchange.answer(vllm(status, "busy", "X"), status, headers)

    serving.serve = busy
    answer = await client.post(URL, json=CHAT)
    found = (answer.headers.get("retry-after"), answer.headers.get("retry-after-ms"))
    assert found == (after or (None, None))


# ---------------------------------------------------------------------------------------------------- our own


async def test_a_hold_that_is_full_or_over(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(scaling={"maxHeld": 1, "holdSeconds": 600}))
    await engines.known(world)
    held = asyncio.create_task(client.post(URL, json=CHAT))
    await until(lambda: world.router.app.lives.count == 1 and bool(world.cluster.writes))
    full = await client.post(URL, json=STREAM)
    status, error = refused(full)
    assert (status, error["type"]) == (429, "requests")
    assert int(full.headers["retry-after-ms"]) >= 1000 * int(full.headers["retry-after"]) - 500
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    late = await client.post(URL, json=STREAM, headers={"x-dormouse-hold-seconds": "0"})
    status, error = refused(late)
    assert (status, error["type"], error["code"]) == (503, "service_unavailable", "model_loading")
    assert int(late.headers["retry-after"]) >= 1
    assert "x-should-retry" not in late.headers


async def test_what_nobody_but_a_person_can_mend_is_not_tried_again(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    answer = await client.post(URL, json=STREAM | {"model": "gated"})
    status, error = refused(answer)
    assert (status, error["code"], answer.headers["x-should-retry"]) == (503, "Gated", "false")


@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_an_engine_that_dies_before_its_answer(client: httpx.AsyncClient, serving: Engine, body: Any) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    serving.serve = die
    assert refused(await client.post(URL, json=body))[0] == 502


async def test_a_silent_engine(make_engine: MakeEngine) -> None:
    async def silent(exchange: Exchange) -> None:
        await exchange.closed()

    async with stage(silence_timeout=0.1) as world, httpx.AsyncClient(base_url=world.url, timeout=20) as client:
        await world.awake(await make_engine(silent), name="tiny-chat")
        status, error = refused(await client.post(URL, json=CHAT))
        assert (status, error["type"]) == (504, "server_error")


async def test_an_answer_that_breaks_off_is_no_answer(client: httpx.AsyncClient, serving: Engine) -> None:
    async def half(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{")
        exchange.cut()

    serving.serve = half
    status, error = refused(await client.post(URL, json=CHAT))
    assert (status, error["code"]) == (502, "engine_lost")


# ---------------------------------------------------------------------------------------------------- in-band

FAILED = vllm(500, 'KV "cache" load failed \u00eb', "InternalServerError")
LOST = ("engine_lost", "broke off")
CUT_SHORT = sse(delta(content="Par")) + b'data: {"id": "chatcmpl-1", "choi'


@pytest.mark.parametrize(
    ("pieces", "end", "code", "words"),
    [
        pytest.param((sse(delta(content="Par")), sse(FAILED), DONE), True, None, 'KV "cache" load', id="said"),
        pytest.param((sse(delta(content="Par"), FAILED) + DONE,), True, None, 'KV "cache" load', id="at once"),
        pytest.param((sse(delta(content="Par")),), False, *LOST, id="died"),
        pytest.param((CUT_SHORT,), False, *LOST, id="died in an event"),
        pytest.param((CUT_SHORT + "\u00eb".encode()[:1],), False, *LOST, id="died in a character"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": True}}])
async def test_a_failure_mid_stream_is_told_in_it(
    world: Stage,
    client: httpx.AsyncClient,
    serving: Engine,
    pieces: tuple[bytes, ...],
    end: bool,
    code: str | None,
    words: str,
    options: dict[str, Any],
) -> None:
    serving.serve = saying(*pieces, end=end)
    answer = await client.post(URL, json=STREAM | options)
    assert answer.status_code == 200
    said, last = chunks(answer.text)
    assert said["choices"][0]["delta"] == {"content": "Par"}
    assert set(last["error"]) == {"message", "type", "param", "code"}
    assert (last["error"]["type"], last["error"]["code"]) == ("server_error", code)
    assert words in last["error"]["message"]
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model="tiny", messages=QUESTIONS, stream=True)
        with pytest.raises(openai.APIError, match=words):
            [_ async for _ in stream]


async def test_a_wake_that_fails_after_its_first_comment_is_told_in_the_stream() -> None:
    async with stage(comment_after=0.01, comment_every=0.01) as world, httpx.AsyncClient(base_url=world.url) as client:
        await world.asleep(model())
        lines: list[str] = []
        async with client.stream("POST", URL, json=STREAM) as answer:
            async for line in answer.aiter_lines():
                if line.startswith(": ") and not lines:
                    full = known_status(conditions=[condition("Ready", "False", "NoSpace", "The volume is full.")])
                    world.cluster.add_model(model(status=full))
                lines.append(line)
    (last,) = chunks("\n".join([*(line for line in lines if line.startswith("data: ")), "\n"]))
    assert (last["error"]["type"], last["error"]["code"]) == ("service_unavailable", "NoSpace")
