"""What the scripted engine says to clients that want more than text: JSON, several tools, ranks, pictures, sounds."""

import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.engine.directives import parse
from tests.engine.engine import scripted
from tests.engine.plan import chat
from tests.engine.schemas import made_up

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
ASK = "What is the weather in Paris?"


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with scripted(media=True) as engine, httpx.AsyncClient(base_url=f"http://127.0.0.1:{engine.port}") as client:
        yield client


def said(body: dict[str, Any]) -> str:
    user = [message for message in body["messages"] if message["role"] == "user"][-1]["content"]
    return chat(body, parse(user if isinstance(user, str) else ""), "")[0].text()


@pytest.mark.parametrize(
    ("schema", "prompt", "value"),
    [
        ({"type": "string"}, "say 'one two' now", "one two"),
        ({"type": "integer"}, "add -3 to 4", -3),
        ({"type": "integer"}, "none", 1),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "", 1.5),
        ({"enum": ["red", "blue"]}, "", "red"),
        ({"const": 7}, "", 7),
        ({"type": ["boolean", "null"]}, "", True),
        ({"type": "array", "minItems": 1, "items": {"type": "string"}}, "in Rome", ["Rome"]),
        ({"type": "array", "items": {"type": "string"}}, "in Rome", []),
        (
            {
                "$defs": {"City": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
                "type": "object",
                "properties": {"city": {"$ref": "#/$defs/City"}, "more": {"type": "string"}},
                "required": ["city"],
            },
            "in Rome",
            {"city": {"name": "Rome"}},
        ),
    ],
)
def test_values_fit_schemas(schema: dict[str, Any], prompt: str, value: object) -> None:
    assert made_up(schema, prompt) == value


def test_an_endless_schema_is_refused() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}
    with pytest.raises(ValueError, match="too deep"):
        made_up({"$defs": {"Node": node}, "$ref": "#/$defs/Node"}, "")


@pytest.mark.parametrize(
    ("more", "value"),
    [
        ({"response_format": {"type": "json_object"}}, {"a": "a", "b": "a"}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "integer"}}}},
            1,
        ),
        ({"structured_outputs": {"json": {"type": "boolean"}}}, True),
    ],
)
def test_structured_answers(more: dict[str, Any], value: object) -> None:
    body = {"messages": [{"role": "user", "content": "JSON with 'a' and 'b'"}], **more}
    assert json.loads(said(body)) == value


def test_the_weather_is_what_the_tool_said() -> None:
    ask = {"role": "user", "content": ASK}
    [first] = chat({"messages": [ask], "tools": [WEATHER]}, parse(ASK), "")
    assert (first.calls, first.arguments(0), first.finish) == (("get_weather",), '{"city": "Paris"}', "tool_calls")
    call = {"id": "x", "type": "function", "function": {"name": "get_weather", "arguments": first.arguments(0)}}
    told = {"role": "tool", "tool_call_id": "x", "content": "sunny"}
    talk = [ask, {"role": "assistant", "tool_calls": [call]}, told]
    assert said({"messages": talk, "tools": [WEATHER]}) == "It is sunny in Paris."


def test_images_are_counted() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    content = [{"type": "text", "text": "what?"}, picture]
    assert said({"messages": [{"role": "user", "content": content}]}) == "I see 1 image."
    assert said({"messages": [{"role": "user", "content": [*content, picture]}]}) == "I see 2 images."


@pytest.mark.parametrize("parallel", [True, False])
async def test_several_calls(http: httpx.AsyncClient, parallel: bool) -> None:
    text = '!tool get_weather {"city": "Rome"} !tool get_weather {"city": "Oslo"}'
    body = {
        "messages": [{"role": "user", "content": text}],
        "tools": [WEATHER],
        "parallel_tool_calls": parallel,
    }
    whole = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]["tool_calls"]
    cities = [json.loads(call["function"]["arguments"])["city"] for call in whole]
    assert cities == (["Rome", "Oslo"] if parallel else ["Rome"])
    streamed = await http.post("/v1/chat/completions", json={**body, "stream": True})
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    deltas = [call for event in events for call in event["choices"][0]["delta"].get("tool_calls", [])]
    assert [(call["index"], call["id"]) for call in deltas if "id" in call] == [
        (place, call["id"]) for place, call in enumerate(whole)
    ]
    joined = ["".join(c["function"]["arguments"] for c in deltas if c["index"] == place) for place in range(len(whole))]
    assert joined == [call["function"]["arguments"] for call in whole]


async def test_ranks(http: httpx.AsyncClient) -> None:
    body = {"query": "small brown mouse", "documents": ["a cat", "a small mouse", "small brown mouse"], "top_n": 2}
    ranked = (await http.post("/v1/rerank", json=body)).json()["results"]
    assert [(row["index"], row["relevance_score"]) for row in ranked] == [(2, 1.0), (1, pytest.approx(2 / 3, abs=1e-5))]
    scores = (await http.post("/score", json={"text_1": "a mouse", "text_2": ["mouse", "cat"]})).json()["data"]
    assert [row["score"] for row in scores] == [0.5, 0.0]
    refused = await http.post("/rerank", json={"query": "x"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, 400)


async def test_pictures_and_sounds(http: httpx.AsyncClient) -> None:
    drawn = (await http.post("/v1/images/generations", json={"prompt": "a mouse", "n": 2})).json()["data"]
    first, second = (base64.b64decode(row["b64_json"]) for row in drawn)
    assert first.startswith(b"\x89PNG")
    assert first != second
    spoken = await http.post("/v1/audio/speech", json={"input": "hello"})
    with wave.open(io.BytesIO(spoken.content)) as opened:
        assert (opened.getframerate(), opened.getnframes()) == (8000, 5)
    heard = await http.post("/v1/audio/transcriptions", files={"file": spoken.content}, data={"model": "tiny"})
    assert heard.json()["text"] == f"I heard {len(spoken.content)} bytes."
    assert (await http.post("/v1/audio/translations", content=b"{}")).status_code == 400


async def test_a_model_of_text_has_no_media() -> None:
    async with scripted() as engine, httpx.AsyncClient() as http:
        answer = await http.post(f"http://127.0.0.1:{engine.port}/v1/images/generations", json={"prompt": "x"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_thoughts_on_demand(http: httpx.AsyncClient) -> None:
    body = {"messages": [{"role": "user", "content": "Hello"}], "reasoning_effort": "low"}
    message = (await http.post("/v1/chat/completions", json=body)).json()["choices"][0]["message"]
    assert (message["reasoning"], message["content"]) == ("Let me think.", "Hello!")
