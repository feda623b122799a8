"""OpenAI's API over a real socket: chats, by the real SDK and by hand, and every way a call can be wrong."""

import asyncio
from typing import Any

import httpx
import openai
import pytest

from tests.router.conftest import MakeEngine
from tests.router.fakes import Engine, Exchange, Stage, chat_completion, model

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}
URL = "/v1/chat/completions"


async def test_a_chat_to_a_sleeping_model_wakes_it(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    await world.asleep()
    world.wake_with(engine)
    answer = await client.post(URL, json=CHAT)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Paris."
    assert [name for _, name, _ in world.cluster.writes] == ["tiny-runtime"]


async def test_answers_say_where_they_come_from(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    status = {"commit": "c0ffee", "engine": {"name": "vllm", "quantization": "int4"}}
    world.cluster.add_model(model(status=status))
    await world.awake(engine)
    for body in (CHAT, CHAT | {"stream": True}):
        answer = await client.post(URL, json=body, headers={"x-request-id": "mine"})
        assert answer.headers["x-dormouse-model"] == "default/tiny"
        assert answer.headers["x-dormouse-commit"] == "c0ffee"
        assert answer.headers["x-dormouse-engine"] == "vllm"
        assert answer.headers["x-dormouse-quantization"] == "int4"
        assert answer.headers["x-dormouse-hold-ms"] == "0"
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["openai-version"] == "2020-10-01"
    assert b"x-request-id: mine" in engine.seen[0].head


async def test_the_sdk_streams_and_does_not(world: Stage, engine: Engine) -> None:
    await world.awake(engine)
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
        whole = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"])
        assert whole.choices[0].message.content == "Paris."
        assert whole._request_id
        stream = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"], stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
        assert words == ["Par", "is", ".", ""]
        assert [listed.id async for listed in sdk.models.list()] == ["tiny"]
        with pytest.raises(openai.NotFoundError, match="Pull it first"):
            await sdk.chat.completions.create(model="nobody", messages=CHAT["messages"])


async def test_completions_and_embeddings_go_to_their_own_paths(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    async def echo(exchange: Exchange) -> None:
        await exchange.answer({"path": exchange.path, "model": exchange.json["model"]})

    await world.awake(await make_engine(echo))
    for path, body in (("/v1/completions", {"prompt": "x"}), ("/v1/embeddings", {"input": ["x"]})):
        answer = await client.post(path, json={"model": "tiny", **body})
        assert answer.json() == {"path": path, "model": "tiny"}


async def test_an_alias_is_spliced_for_the_engine_and_given_back_to_the_caller(
    world: Stage, client: httpx.AsyncClient, engine: Engine
) -> None:
    world.cluster.add_model(model(aliases=("org/Tiny",)))
    await world.awake(engine)
    body = b'{ "model" : "org/Tiny",  "messages":[{"role":"user","content":"\xc3\xa9 \\u00e9"}] , "x":1.50}'
    answer = await client.post(URL, content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert engine.seen[0].body == body.replace(b'"org/Tiny"', b'"tiny"')
    assert answer.json() == chat_completion("Paris.", "org/Tiny")


@pytest.mark.parametrize(
    ("body", "status", "param", "code"),
    [
        (b"", 400, None, None),
        (b"{", 400, None, None),
        (b"[]", 400, None, "invalid_type"),
        (b"\xff\xfe", 400, None, None),
        (b'{"model":"tiny","x":' + b"[" * 100_000, 400, None, None),
        (b'{"messages":[{"role":"user","content":"x"}]}', 400, "model", "missing_required_parameter"),
        (b'{"model":1,"messages":[{"role":"user"}]}', 400, "model", "invalid_type"),
        (b'{"model":"","messages":[{"role":"user"}]}', 400, "model", "invalid_value"),
        (b'{"model":"tiny"}', 400, "messages", "missing_required_parameter"),
        (b'{"model":"tiny","messages":[]}', 400, "messages", "invalid_value"),
        (b'{"model":"tiny","messages":[{"content":"x"}]}', 400, "messages[0].role", "missing_required_parameter"),
        (b'{"model":"tiny","messages":[{"role":"user","content":5}]}', 400, "messages[0].content", "invalid_type"),
        (b'{"model":"tiny","messages":[{"role":"user"}],"temperature":"hot"}', 400, "temperature", "invalid_type"),
        (b'{"model":"tiny","messages":[{"role":"user"}],"stream":"yes"}', 400, "stream", "invalid_type"),
        (b'{"model":"tiny","messages":[{"role":"user"}],"stream_options":{}}', 400, "stream_options", "invalid_value"),
        (b'{"model":"gone","messages":[{"role":"user","content":"x"}]}', 404, "model", "model_not_found"),
        (b'{"model":"TINY","messages":[{"role":"user","content":"x"}]}', 404, "model", "model_not_found"),
    ],
)
async def test_a_bad_body_is_told_why_and_wakes_nothing(
    world: Stage, client: httpx.AsyncClient, body: bytes, status: int, param: str | None, code: str | None
) -> None:
    await world.asleep()
    answer = await client.post(URL, content=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["param"], error["code"], error["type"]) == (param, code, "invalid_request_error")
    assert error["message"]
    assert world.cluster.reads == 0
    assert world.cluster.writes == []


@pytest.mark.parametrize("fields", [{"temperature": None}, {"stream": None}, {"unknown": {"x": [1]}}, {"tools": None}])
async def test_nulls_and_unknown_fields_pass(
    world: Stage, client: httpx.AsyncClient, engine: Engine, fields: dict[str, object]
) -> None:
    await world.awake(engine)
    assert (await client.post(URL, json=CHAT | fields)).status_code == 200


async def test_engines_errors_are_put_into_openais_envelope(
    world: Stage, client: httpx.AsyncClient, make_engine: MakeEngine
) -> None:
    said = {"error": {"message": "too long", "type": "BadRequestError", "param": "messages", "code": 400}}

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(said, status=400)

    await world.awake(await make_engine(refuse))
    for body in (CHAT, CHAT | {"stream": True}):
        answer = await client.post(URL, json=body)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"] == {
            "message": "too long",
            "type": "invalid_request_error",
            "param": "messages",
            "code": None,
        }


async def test_models_are_listed_and_found_by_every_name(world: Stage, client: httpx.AsyncClient) -> None:
    await world.asleep(model("tiny", aliases=("org/tiny",), created=2.0, status={"contextLength": 512}))
    await world.asleep(model("tiny", namespace="team", created=1.0))
    listed = (await client.get("/v1/models")).json()
    assert [card["id"] for card in listed["data"]] == ["default/tiny", "tiny"]
    assert listed["data"][0] | {"created": 2, "max_model_len": 512} == listed["data"][0]
    for name in ("tiny", "org/tiny", "org%2Ftiny", "default/tiny", "team/tiny", "tiny:latest"):
        assert (await client.get(f"/v1/models/{name}")).status_code == 200
    assert (await client.head("/v1/models")).content == b""
    missing = await client.get("/v1/models/org/other")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
    assert world.cluster.reads == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/completions", 405),
        ("PUT", "/v1/models", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/nothing", 404),
    ],
)
async def test_unknown_paths_and_methods_are_told_in_the_envelope(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path)
    assert answer.status_code == status
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(world: Stage, client: httpx.AsyncClient) -> None:
    limit = world.router.settings.max_body
    head = f"POST {URL} HTTP/1.1\r\nhost: x\r\ncontent-length: {limit + 1}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", world.router.port)
    writer.write(head.encode())
    answer = await reader.read(65536)
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"error"' in answer
    assert b"connection: close" in answer.lower()
