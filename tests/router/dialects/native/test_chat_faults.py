"""Every error of POST /chat, with its status before the first byte and in-band after it; models that sleep."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.native.chats import PROMPT, STREAM, URL, chatting, events, refused, serving
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, until


@pytest.fixture
async def engine(world: Stage, make_engine: MakeEngine) -> Engine:
    made = await make_engine(engines.paris)
    await serving(world, made)
    return made


# ---------------------------------------------------------------------------------------------------- before the first

BAD: list[tuple[Any, str | None, str]] = [
    (b"", None, "body is empty"),
    (b"{", None, "not valid JSON"),
    (b'{"model": "\xff"}', None, "UTF-8"),
    (b"[1]", None, "JSON object"),
    ({"prompt": "x"}, "model", "model is missing"),
    ({"model": "tiny"}, "messages", "send one of messages, prompt and message"),
    ({"model": "tiny", "messages": []}, "messages", "nothing is said"),
    ({**PROMPT, "message": "x"}, "message", "say it twice"),
    ({**PROMPT, "temperature": 2.1}, "temperature", "temperature must be from 0 to 2, not 2.1"),
    ({**PROMPT, "temperature": -0.1}, "temperature", "from 0 to 2"),
    ({**PROMPT, "temperature": "hot"}, "temperature", "Expected float | null, got str, from 0 to 2"),
    ({**PROMPT, "top_p": 1.01}, "top_p", "top_p must be from 0 to 1"),
    ({**PROMPT, "top_k": -2}, "top_k", "top_k must be from 0"),
    ({**PROMPT, "top_k": 1.5}, "top_k", "Expected int"),
    ({**PROMPT, "repetition_penalty": 0}, "repetition_penalty", "from 0.1 to 2"),
    ({**PROMPT, "max_tokens": 0}, "max_tokens", "max_tokens must be from 1 to"),
    ({**PROMPT, "max_tokens": 2049}, "max_tokens", "max_tokens must be from 1 to 2048, not 2049"),
    ({**PROMPT, "timeout": 0}, "timeout", "timeout must be from 0.1 to 3600"),
    ({**PROMPT, "timeout": 3601}, "timeout", "to 3600"),
    ({**PROMPT, "max_history": 0}, "max_history", "from 1 to 1000"),
    ({**PROMPT, "session_id": ""}, "session_id", "from 1 to 256 characters"),
    ({**PROMPT, "session_id": "x" * 257}, "session_id", "from 1 to 256 characters"),
    ({**PROMPT, "session_id": 7}, "session_id", "Expected str"),
    ({**PROMPT, "session_id": "s", "prompt": "x" * 1_100_000}, "messages", "leave session_id out"),
    ({**PROMPT, "tools": [{"type": "function"}]}, "tools", "tools.0 must be"),
    ({**PROMPT, "tools": "none"}, "tools", "Expected array"),
    ({**PROMPT, "keep_alive": "soon"}, None, "keep_alive"),
    ({"model": "tiny", "messages": [{"role": "robot", "content": "x"}]}, None, "robot"),
    ({"model": "tiny", "messages": [{"role": "user", "content": 7}]}, "messages", "messages[0].content"),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("body", "param", "words"), BAD)
async def test_bad_input_wakes_nothing_and_names_its_field(
    world: Stage, client: httpx.AsyncClient, body: Any, param: str | None, words: str, stream: bool
) -> None:
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    content = body if isinstance(body, bytes) else json.dumps({**body, "stream": stream})
    status, named, sentence = refused(await client.post(URL, content=content))
    assert (status, named) == (400, param)
    assert words in sentence
    assert world.cluster.writes == []


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", URL, 405, "use POST"),
        ("POST", "/chat/more", 404, "/chat/more"),
        ("GET", "/sessions/", 404, "there is no session"),
        ("POST", "/sessions/x", 405, "not allowed"),
    ],
)
async def test_wrong_methods_and_paths(
    client: httpx.AsyncClient, method: str, path: str, status: int, words: str
) -> None:
    found = refused(await client.request(method, path))
    assert found[0] == status
    assert words in found[2]


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("body", [PROMPT, STREAM])
async def test_a_model_nobody_knows(client: httpx.AsyncClient, body: dict[str, Any]) -> None:
    status, _, words = refused(await client.post(URL, json={**body, "model": "nobody"}))
    assert status == 404
    assert "nobody" in words


@pytest.mark.parametrize(
    ("capabilities", "more", "words"),
    [
        (["embedding"], {}, "does not support text generation"),
        (["completion"], {"tools": [{"name": "f"}]}, "does not support tools"),
        (
            ["completion"],
            {"prompt": None, "messages": [{"role": "user", "content": "x", "images": ["iVBORw0KGgo="]}]},
            "does not support vision",
        ),
    ],
)
async def test_what_a_model_cannot_do(
    world: Stage, client: httpx.AsyncClient, capabilities: list[str], more: dict[str, Any], words: str
) -> None:
    world.cluster.add_model(model(aliases=["tiny"], status=known_status(capabilities=capabilities)))
    await engines.known(world)
    status, _, sentence = refused(await client.post(URL, json={**PROMPT, **more}))
    assert status == 400
    assert words in sentence


@pytest.mark.parametrize("body", [PROMPT, STREAM])
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
async def test_an_engines_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, engine: Engine, body: Any, status: int
) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer({"error": {"message": "temperature is odd"}}, status, "retry-after: 7\r\n")

    engine.serve = refuse
    answer = await client.post(URL, json=body)
    assert refused(answer) == (status, None, "temperature is odd")
    assert answer.headers["retry-after"] == "7"
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"


async def test_a_model_that_failed_is_refused_at_once(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    status, _, words = refused(await client.post(URL, json={**STREAM, "model": "gated"}))
    assert status == 503
    assert "Accept the licence first." in words


async def test_a_full_hold_and_a_wake_that_takes_too_long(world: Stage, client: httpx.AsyncClient) -> None:
    world.cluster.add_model(model(aliases=["tiny"], scaling={"maxHeld": 1, "holdSeconds": 600}))
    await engines.known(world)
    held = asyncio.create_task(client.post(URL, json=PROMPT))
    await until(lambda: world.router.app.lives.count == 1 and bool(world.cluster.writes))
    full = await client.post(URL, json=PROMPT)
    assert (full.status_code, "retry-after" in full.headers) == (429, True)
    held.cancel()
    await asyncio.gather(held, return_exceptions=True)
    late = await client.post(URL, json=PROMPT, headers={"x-dormouse-hold-seconds": "0"})
    assert (late.status_code, "retry-after" in late.headers) == (503, True)


async def test_an_engine_that_dies_before_its_answer(client: httpx.AsyncClient, engine: Engine) -> None:
    async def die(exchange: Exchange) -> None:
        exchange.cut()

    engine.serve = die
    for body in (PROMPT, STREAM):
        assert refused(await client.post(URL, json=body))[0] == 502


async def test_a_failure_that_is_the_first_word_has_its_status(client: httpx.AsyncClient, engine: Engine) -> None:
    async def fail(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event({"error": {"message": "no room", "code": 500}})
        await exchange.finish()

    engine.serve = fail
    assert refused(await client.post(URL, json=STREAM)) == (502, None, "no room")


async def given_up(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    await exchange.event(chat_chunk("", finish="abort"))
    await exchange.finish()


async def ends_early(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    await exchange.finish()


async def nonsense(exchange: Exchange) -> None:
    await exchange.stream_head()
    await exchange.event(chat_chunk("Par"))
    await exchange.chunk(b"data: {not json\n\n")
    await exchange.finish()


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (engines.dies_mid_stream, "the answer broke off"),
        (engines.fails_mid_stream, "out of blocks"),
        (given_up, "gave the answer up"),
        (ends_early, "before it was complete"),
        (nonsense, "cannot be read"),
    ],
)
async def test_a_failure_mid_stream_is_the_last_event_and_keeps_nothing(
    client: httpx.AsyncClient, engine: Engine, serve: Any, words: str
) -> None:
    engine.serve = serve
    first, last = events(await client.post(URL, json={**STREAM, "session_id": "s"}))
    assert first == {"delta": {"content": "Par"}, "done": False}
    assert list(last) == ["error", "status"]
    assert last["status"] == 502
    assert words in last["error"]
    status, _, sentence = refused(await client.post(URL, json={**PROMPT, "session_id": "s"}))
    assert status == 502
    assert words in sentence
    assert (await client.get("/sessions/s")).status_code == 404


async def test_a_prompt_that_is_too_long_without_a_history_is_refused(make_engine: MakeEngine) -> None:
    words = "This model's maximum context length is 50 tokens. However, your prompt contains 60"
    engine = await make_engine(engines.refusing(400, {"error": {"message": words, "code": 400}}))
    async with chatting(engine) as client:
        assert refused(await client.post(URL, json=PROMPT)) == (400, None, words)
    assert len(engine.seen) == 1
