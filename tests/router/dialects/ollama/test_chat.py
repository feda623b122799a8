"""Chats and generates over real sockets: the unmodified SDK, raw requests, and engines that fail."""

import asyncio
import json
import time
from typing import Any

import httpx
import ollama
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import condition, known_status, model
from tests.router.fakes import Engine, Exchange, Stage, chat_chunk, stage, until

HI = [{"role": "user", "content": "Capital of France?"}]
BODY: dict[str, Any] = {"model": "tiny", "messages": HI}
METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


@pytest.fixture
async def serving(world: Stage, make_engine: MakeEngine) -> Engine:
    """An engine that says "Paris." behind the model tiny-chat, alias tiny; a test may change what it says."""
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model(aliases=["tiny", "Org/Tiny"]))
    world.ready(engine, name="tiny-chat")
    await engines.awake(world)
    return engine


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [json.loads(line) for line in response.text.splitlines()]


# ---------------------------------------------------------------------------------------------------- the SDK


@pytest.mark.usefixtures("serving")
async def test_the_sdk_chats(sdk: ollama.AsyncClient) -> None:
    whole = await sdk.chat(model="tiny", messages=HI)
    assert (whole.message.content, whole.done, whole.done_reason, whole.model) == ("Paris.", True, "stop", "tiny")
    assert all((whole[name] or 0) > 0 for name in METRICS)
    assert (whole.prompt_eval_count, whole.eval_count) == (7, 3)
    parts = [part async for part in await sdk.chat(model="Tiny:latest", messages=HI, stream=True)]
    assert [part.message.content for part in parts] == ["Par", "is", ".", ""]
    assert [part.done for part in parts] == [False, False, False, True]
    assert {part.model for part in parts} == {"Tiny:latest"}
    assert all((parts[-1][name] or 0) > 0 for name in METRICS)


async def test_the_sdk_generates_and_carries_the_conversation_on(sdk: ollama.AsyncClient, serving: Engine) -> None:
    first = await sdk.generate(model="tiny", prompt="Capital of France?", system="be brief")
    assert (first.response, first.done_reason) == ("Paris.", "stop")
    assert first.context
    parts = [
        part async for part in await sdk.generate(model="tiny", prompt="Really?", context=first.context, stream=True)
    ]
    assert "".join(part.response or "" for part in parts) == "Paris."
    assert parts[-1].context
    assert [turn["content"] for turn in serving.seen[-1].json["messages"]] == [
        "be brief",
        "Capital of France?",
        "Paris.",
        "Really?",
    ]


async def test_the_engine_gets_the_models_own_name_and_ollamas_defaults(
    sdk: ollama.AsyncClient, serving: Engine
) -> None:
    await sdk.chat(model="hf.co/org/tiny", messages=HI, options={"temperature": 0, "num_predict": 5})
    seen = serving.seen[-1].json
    assert (seen["model"], seen["stream"], seen["temperature"], seen["top_k"], seen["max_tokens"]) == (
        "tiny-chat",
        True,
        0,
        40,
        5,
    )


async def test_the_sdk_calls_tools(sdk: ollama.AsyncClient, serving: Engine) -> None:
    serving.serve = engines.tools

    def weather(city: str) -> str:
        """The weather in a city.

        Args:
            city: name of the city
        """
        return city

    whole = await sdk.chat(model="tiny", messages=HI, tools=[weather])
    [call] = whole.message.tool_calls or ()
    assert (call.function.name, call.function.arguments) == ("weather", {"city": "Paris"})
    parts = [part async for part in await sdk.chat(model="tiny", messages=HI, tools=[weather], stream=True)]
    assert [len(part.message.tool_calls or ()) for part in parts] == [1, 0]
    serving.serve = engines.paris
    answered: list[Any] = [*HI, whole.message, {"role": "tool", "content": "sunny", "tool_name": "weather"}]
    await sdk.chat(model="tiny", messages=answered)
    _, asked, result = serving.seen[-1].json["messages"]
    assert json.loads(asked["tool_calls"][0]["function"]["arguments"]) == {"city": "Paris"}
    assert result["tool_call_id"] == asked["tool_calls"][0]["id"]


async def test_raw_goes_to_the_engine_as_it_is(sdk: ollama.AsyncClient, serving: Engine) -> None:
    whole = await sdk.generate(model="tiny", prompt="<s>hi", raw=True)
    assert (whole.response, whole.context) == ("Paris.", None)
    assert (serving.seen[-1].path, serving.seen[-1].json["prompt"]) == ("/v1/completions", "<s>hi")


# ---------------------------------------------------------------------------------------------------- raw requests


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain", "application/json; x=y"])
async def test_any_content_type_will_do(client: httpx.AsyncClient, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    answer = await client.post("/api/chat", content=json.dumps(BODY), headers=headers)
    found = lines(answer)
    assert [line["done"] for line in found] == [False, False, False, True]
    assert answer.headers["x-accel-buffering"] == "no"
    assert "x-request-id" in answer.headers


@pytest.mark.usefixtures("serving")
@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", "", 400, "missing request body"),
        ("/api/chat", "{", 400, "invalid request"),
        ("/api/chat", "{}", 400, "model is required"),
        ("/api/chat", {"model": "nobody", "messages": HI}, 404, "model 'nobody' not found"),
        ("/api/generate", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("/api/show", {"model": "nobody"}, 404, "model 'nobody' not found"),
        ("/api/chat", {**BODY, "options": {"top_k": "x"}}, 400, 'option "top_k" must be of type integer'),
        ("/api/chat", {**BODY, "format": "xml"}, 400, "invalid format"),
        ("/api/chat", {**BODY, "keep_alive": "soon"}, 400, "invalid duration"),
        ("/api/chat", {**BODY, "think": True}, 400, '"tiny" does not support thinking'),
        ("/api/embed", {"model": "tiny", "input": "x"}, 400, '"tiny" does not support embedding'),
        ("/api/push", {"model": "tiny"}, 501, "publish the weights on the hub"),
        ("/api/create", {"model": "new", "from": "tiny"}, 501, "apply an InferenceModel"),
        ("/api/copy", {"source": "tiny", "destination": "b"}, 501, "spec.aliases"),
        ("/api/nonsense", {}, 404, "/api/nonsense"),
    ],
)
async def test_errors_are_ollamas(client: httpx.AsyncClient, path: str, body: Any, status: int, words: str) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = await client.post(path, content=content)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert words in answer.json()["error"]
    assert answer.headers["content-type"].startswith("application/json")


async def test_a_model_that_was_never_pulled_is_told_how(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/chat", json={"model": "org/new", "messages": HI})
    assert answer.status_code == 404
    assert "not found" in answer.json()["error"]
    assert "ollama pull org/new" in answer.json()["error"]


async def test_too_large_a_body_is_refused_in_ollamas_words() -> None:
    async with stage(max_body=1000) as world, httpx.AsyncClient(base_url=world.url) as client:
        answer = await client.post("/api/chat", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "larger than 1000 bytes" in answer.json()["error"]


# ---------------------------------------------------------------------------------------------------- engines that fail


@pytest.mark.parametrize(
    ("serve", "words"), [(engines.dies_mid_stream, ""), (engines.fails_mid_stream, "out of blocks")]
)
async def test_a_failure_mid_stream_is_the_last_line(
    client: httpx.AsyncClient, sdk: ollama.AsyncClient, serving: Engine, serve: Any, words: str
) -> None:
    serving.serve = serve
    first, last = lines(await client.post("/api/chat", json=BODY))
    assert first["message"]["content"] == "Par"
    assert list(last) == ["error"]
    assert words in last["error"]
    whole = await client.post("/api/chat", json={**BODY, "stream": False})
    assert whole.status_code == 502
    assert words in whole.json()["error"]
    with pytest.raises(ollama.ResponseError):
        async for _ in await sdk.chat(model="tiny", messages=HI, stream=True):
            pass


@pytest.mark.parametrize(("status", "told"), [(400, 400), (500, 500), (404, 500)])
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engines_refusal_keeps_its_status_and_words(
    client: httpx.AsyncClient, serving: Engine, status: int, told: int, stream: bool
) -> None:
    serving.serve = engines.refusing(status, {"error": {"message": "temperature is odd", "code": status}})
    answer = await client.post("/api/chat", json={**BODY, "stream": stream})
    assert (answer.status_code, answer.json()) == (told, {"error": "temperature is odd"})


async def test_a_conversation_that_is_too_long_loses_its_oldest_turns(sdk: ollama.AsyncClient, serving: Engine) -> None:
    async def short(exchange: Exchange) -> None:
        if len(exchange.json["messages"]) > 2:
            words = "This model's maximum context length is 512 tokens. However, your prompt contains 600"
            await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        else:
            await engines.paris(exchange)

    serving.serve = short
    turns = [{"role": "system", "content": "s"}]
    turns += [{"role": "user" if i % 2 == 0 else "assistant", "content": str(i)} for i in range(9)]
    whole = await sdk.chat(model="tiny", messages=turns)
    assert whole.message.content == "Paris."
    assert [turn["content"] for turn in serving.seen[-1].json["messages"]] == ["s", "8"]


async def test_a_failed_model_is_refused_at_once_with_its_message(world: Stage, client: httpx.AsyncClient) -> None:
    gated = known_status(conditions=[condition("Ready", "False", "Gated", "Accept the licence first.")])
    world.cluster.add_model(model("gated", status=gated))
    await engines.known(world, "gated")
    answer = await client.post("/api/chat", json={"model": "gated", "messages": HI})
    assert answer.status_code == 503
    assert "Accept the licence first." in answer.json()["error"]


# ---------------------------------------------------------------------------------------------------- sleep and wake


async def asleep(world: Stage, make_engine: MakeEngine) -> Engine:
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model(aliases=["tiny"]))
    await engines.known(world)
    world.wake_with(engine, name="tiny-chat")
    return engine


async def test_a_chat_wakes_a_sleeping_model_and_counts_the_wait(
    world: Stage, sdk: ollama.AsyncClient, make_engine: MakeEngine
) -> None:
    await asleep(world, make_engine)
    whole = await sdk.chat(model="tiny", messages=HI, keep_alive="20m")
    assert whole.message.content == "Paris."
    assert 0 < (whole.load_duration or 0) <= (whole.total_duration or 0)
    [running] = (await sdk.ps()).models
    assert running.expires_at is not None
    assert 1190 < running.expires_at.timestamp() - time.time() <= 1200


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_load_and_unload(world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str) -> None:
    engine = await asleep(world, make_engine)
    loaded = (await client.post(path, json={"model": "tiny", "keep_alive": -1})).json()
    assert (loaded["done"], loaded["done_reason"], loaded["model"]) == (True, "load", "tiny")
    assert loaded.get("response", "") == "" == loaded.get("message", {}).get("content", "")
    [running] = (await client.get("/api/ps")).json()["models"]
    assert running["expires_at"] == "2318-01-01T00:00:00Z"
    unloaded = (await client.post(path, json={"model": "tiny", "keep_alive": 0})).json()
    assert unloaded["done_reason"] == "unload"
    await until(lambda: world.cluster.writes[-1][2].ends <= time.time())
    assert engine.seen == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", {**BODY, "format": 1}),
        ("/api/chat", {**BODY, "options": {"seed": "x"}}),
        ("/api/chat", {"model": "tiny", "messages": [{"role": "robot"}]}),
        ("/api/generate", {"model": "tiny", "prompt": "x", "context": [1]}),
        ("/api/generate", {"model": "tiny", "keep_alive": "x"}),
        ("/api/show", {"model": "tiny"}),
        ("/api/embed", {"model": "tiny", "input": 7}),
    ],
)
async def test_nothing_but_a_good_request_wakes_a_model(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine, path: str, body: Any
) -> None:
    await asleep(world, make_engine)
    await client.post(path, json=body)
    for read in ("/", "/api/tags", "/api/ps", "/api/version", "/api/status"):
        assert (await client.get(read)).status_code == 200
    assert world.cluster.writes == []


async def test_a_client_that_leaves_ends_the_engines_work(world: Stage, serving: Engine) -> None:
    left = asyncio.Event()

    async def endless(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event(chat_chunk("Par"))
        await exchange.closed()
        left.set()

    serving.serve = endless
    async with (
        httpx.AsyncClient(base_url=world.url, timeout=20) as client,
        client.stream("POST", "/api/chat", json=BODY) as answer,
    ):
        async for line in answer.aiter_lines():
            assert json.loads(line)["message"]["content"] == "Par"
            break
    async with asyncio.timeout(10):
        await left.wait()


# ---------------------------------------------------------------------------------------------------- embeddings


async def test_embeddings(world: Stage, sdk: ollama.AsyncClient, make_engine: MakeEngine) -> None:
    engine = await make_engine(engines.vectors)
    world.cluster.add_model(model("e5", status=known_status(capabilities=["embedding"])))
    world.ready(engine, name="e5")
    await engines.awake(world, "e5")
    found = await sdk.embed(model="e5", input=["a", "bb"])
    assert [[round(x, 6) for x in vector] for vector in found.embeddings] == [[0.6, 0.8], [0.351123, 0.936329]]
    assert found.prompt_eval_count == 5
    legacy = await sdk.embeddings(model="e5", prompt="a")
    assert list(legacy.embedding) == [3.0, 4.0]
    assert (await sdk.embed(model="e5", input="")).embeddings == []
    with pytest.raises(ollama.ResponseError, match="does not support chat"):
        await sdk.chat(model="e5", messages=HI)
    engine.serve = engines.refusing(400, {"error": {"message": "maximum context length is 8", "code": 400}})
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
        await sdk.embed(model="e5", input="long", truncate=False)
