"""Chats, generates and embeddings over real sockets: the unmodified SDK, and raw requests."""

import json
from typing import Any

import httpx
import ollama
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.engines import BODY, HI, lines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Stage, stage

METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)


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
        ("/api/push", {"model": "tiny"}, 400, "publish the weights on the hub"),
        ("/api/create", {"model": "new", "files": {"a.gguf": "sha256:00"}}, 400, "create FROM them"),
        ("/api/create", {"model": "new"}, 400, "neither 'from' or 'files' was specified"),
        ("/api/copy", {"source": "nobody", "destination": "b"}, 404, 'model "nobody" not found'),
        ("/api/embed", {"model": "nobody"}, 404, 'model "nobody" not found, try pulling it first'),
        ("/api/embeddings", {"model": "nobody"}, 404, 'model "nobody" not found, try pulling it first'),
        ("/api/chat", {**BODY, "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
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


# ---------------------------------------------------------------------------------------------------- embeddings


async def test_embeddings(world: Stage, sdk: ollama.AsyncClient, make_engine: MakeEngine) -> None:
    engine = await make_engine(engines.vectors)
    world.cluster.add_model(model("e5", status=known_status(capabilities=["embedding"])))
    world.ready(engine, name="e5")
    await engines.awake(world, "e5")
    found = await sdk.embed(model="e5", input=["a", "bb"])
    assert [[round(x, 6) for x in vector] for vector in found.embeddings] == [[0.6, 0.8], [0.351123, 0.936329]]
    assert found.prompt_eval_count == 5
    assert (await sdk.embed(model="e5", input="a", dimensions=1)).embeddings == [[1.0]]
    assert len((await sdk.embed(model="e5", input="a", dimensions=0)).embeddings[0]) == 2
    with pytest.raises(ollama.ResponseError, match="dimensions must be at least 1"):
        await sdk.embed(model="e5", input="a", dimensions=-1)
    legacy = await sdk.embeddings(model="e5", prompt="a")
    assert list(legacy.embedding) == [3.0, 4.0]
    assert (await sdk.embed(model="e5", input="")).embeddings == []
    with pytest.raises(ollama.ResponseError, match="does not support chat"):
        await sdk.chat(model="e5", messages=HI)
    engine.serve = engines.refusing(400, {"error": {"message": "maximum context length is 8", "code": 400}})
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
        await sdk.embed(model="e5", input="long", truncate=False)
