"""The OpenAI server over a model that says what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from dormouse_runtime.engines.openai.app import Served, create_app
from tests.runtime.openai.fakes import EOS, Characters, Parrot
from tests.runtime.openai.test_text import CALL

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]


def served(parrot: Parrot, **fields: Any) -> Served:
    return Served(
        **{
            "name": "tiny",
            "batcher": parrot,
            "tokenizer": Characters(),
            "max_model_len": 200,
            "max_waiting": 4,
            "eos": frozenset({EOS}),
            "vocabulary": 256,
            **fields,
        }
    )


@pytest.fixture
def parrot() -> Parrot:
    return Parrot("Paris.")


@pytest.fixture
async def client(parrot: Parrot) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(served(parrot))), base_url="http://x") as it:
        yield it


def chat(text: str = "hi", **fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}


def events(body: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


async def test_a_chat_in_one_piece(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/v1/chat/completions", json=chat())).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {"index": 0, "logprobs": None, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}
    ]
    assert answer["usage"] == {"prompt_tokens": 8, "completion_tokens": 7, "total_tokens": 15}


async def test_a_chat_streamed(client: httpx.AsyncClient) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    answer = await client.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *middle, last, usage = events(answer.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"]["content"] for event in middle) == "Paris."
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 15)
    assert len({event["id"] for event in (first, *middle, last, usage)}) == 1
    assert "usage" not in first
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    counts = [event["usage"] for event in events((await client.post("/v1/chat/completions", json=body)).text)]
    assert {count["prompt_tokens"] for count in counts} == {8}
    assert counts[0]["completion_tokens"] == 0 < counts[-1]["completion_tokens"] == 7


async def test_completions_whole_and_streamed(client: httpx.AsyncClient) -> None:
    body = {"model": "tiny", "prompt": ["a", "b"], "n": 2, "max_tokens": 3}
    answer = (await client.post("/v1/completions", json=body)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["Par"] * 4
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}
    streamed = events((await client.post("/v1/completions", json={**body, "stream": True})).text)
    for index in range(4):
        texts = [event["choices"][0]["text"] for event in streamed if event["choices"][0]["index"] == index]
        assert "".join(texts) == "Par"


async def test_sampling_is_handed_on_with_the_models_defaults(parrot: Parrot) -> None:
    app = create_app(served(parrot, defaults={"temperature": 0.6, "top_k": 20.0}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        await client.post("/v1/chat/completions", json=chat(top_p=0.5, seed=3, max_completion_tokens=5))
        await client.post("/v1/chat/completions", json=chat(temperature=0, top_k=-1, logit_bias={"5": 2}))
    (_, first), (prompt, second) = parrot.asked
    assert (first.temperature, first.top_k, first.top_p, first.seed, first.max_tokens) == (0.6, 20, 0.5, 3, 5)
    assert (second.temperature, second.top_k, second.logit_bias) == (0.0, 0, {5: 2.0})
    assert second.max_tokens == 200 - len(prompt)  # whatever room there is


@pytest.mark.parametrize("stream", [False, True])
async def test_stop_strings_cut_and_end(client: httpx.AsyncClient, parrot: Parrot, stream: bool) -> None:
    answer = await client.post("/v1/chat/completions", json=chat(stop=["ri", "xx"], stream=stream))
    if stream:
        deltas = [event["choices"][0] for event in events(answer.text)]
        assert "".join(delta["delta"].get("content", "") for delta in deltas) == "Pa"
        last = deltas[-1]
    else:
        last = answer.json()["choices"][0]
        assert last["message"]["content"] == "Pa"
    assert (last["finish_reason"], last["stop_reason"]) == ("stop", "ri")
    assert parrot.closed == 1  # its place is free for others


async def test_tool_calls(client: httpx.AsyncClient, parrot: Parrot) -> None:
    parrot.words = CALL
    choice = (await client.post("/v1/chat/completions", json=chat(tools=TOOLS))).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}
    streamed = events((await client.post("/v1/chat/completions", json=chat(tools=TOOLS, stream=True))).text)
    calls = [call for event in streamed for call in event["choices"][0]["delta"].get("tool_calls", ())]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "get_weather")]
    plain = (await client.post("/v1/chat/completions", json=chat(tools=TOOLS, tool_choice="none"))).json()
    assert plain["choices"][0]["message"]["content"] == CALL
    assert b"[get_weather]" not in bytes(parrot.asked[-1][0])


REFUSALS: dict[str, tuple[str, Any, int, str]] = {
    "unknown model": ("/v1/chat/completions", chat(model="other"), 404, "'other' does not exist"),
    "no messages": ("/v1/chat/completions", chat(messages=[]), 400, "messages"),
    "wrong type": ("/v1/chat/completions", chat(temperature="hot"), 400, "temperature"),
    "out of bounds": ("/v1/completions", {"prompt": "x", "top_p": 2}, 400, "top_p"),
    "too long": ("/v1/chat/completions", chat("x" * 300), 400, "maximum context length is 200 tokens"),
    "too much asked": ("/v1/chat/completions", chat(max_tokens=500), 400, "fewer tokens"),
    "a format": ("/v1/chat/completions", chat(response_format={"type": "json_object"}), 400, "vllm engine"),
    "a forced tool": ("/v1/chat/completions", chat(tool_choice="required"), 400, "tool_choice"),
    "the template's refusal": (
        "/v1/chat/completions",
        {"messages": [{"role": "bad", "content": ""}]},
        400,
        "chat template refuses",
    ),
    "an empty chat": ("/v1/chat/completions", chat(chat_template_kwargs={"says": "nothing"}), 400, "chatTemplate"),
    "an empty prompt": ("/v1/completions", {"prompt": ""}, 400, "prompt is empty"),
    "an empty stream": ("/v1/completions", {"prompt": [[]], "stream": True}, 400, "prompt is empty"),
    "no prompt": ("/v1/completions", {"prompt": []}, 400, "prompt is empty"),
    "one of two is empty": ("/v1/completions", {"prompt": ["a", ""]}, 400, "prompt is empty"),
    "a foreign token": ("/v1/completions", {"prompt": [7, 256]}, 400, "the token 256"),
    "a negative token": ("/v1/completions", {"prompt": [[-1]]}, 400, "0 to 255"),
    "a bias beyond numbers": ("/v1/completions", {"prompt": "a", "logit_bias": {"1": "inf"}}, 400, "finite"),
    "unknown path": ("/v1/nothing", {}, 404, "Not Found"),
}


@pytest.mark.parametrize(("path", "body", "status", "words"), REFUSALS.values(), ids=REFUSALS)
async def test_refusals_have_openais_shape(
    client: httpx.AsyncClient, parrot: Parrot, path: str, body: Any, status: int, words: str
) -> None:
    answer = await client.post(path, json=body)
    error = answer.json()["error"]
    assert answer.status_code == status
    assert words in error["message"]
    assert set(error) == {"message", "type", "param", "code"}
    assert not parrot.asked
    assert (await client.get("/load")).json() == {"server_load": 0}


async def test_invalid_json_is_a_refusal_too(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/chat/completions", content=b"{", headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_too_many_at_once_are_told_to_come_back() -> None:
    gate = asyncio.Event()
    parrot = Parrot("Paris.", gate)
    app = create_app(served(parrot, max_waiting=2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        first = [asyncio.create_task(client.post("/v1/chat/completions", json=chat())) for _ in range(2)]
        for _ in first:
            await asyncio.wait_for(parrot.started.acquire(), 30)
        refused = await client.post("/v1/chat/completions", json=chat())
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        gate.set()
        assert [(await task).status_code for task in first] == [200, 200]
        assert (await client.get("/load")).json() == {"server_load": 0}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_place(stream: bool) -> None:
    parrot = Parrot("Paris.", asyncio.Event())  # never opened
    of_model = served(parrot)
    body = json.dumps(chat(stream=stream)).encode()
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    headers = [(b"content-type", b"application/json")]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"",
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("x", 80),
        "client": ("y", 1),
    }

    async def send(message: Any) -> None:
        return None

    answering = asyncio.create_task(create_app(of_model)(scope, inbox.get, send))
    await asyncio.wait_for(parrot.started.acquire(), 30)
    assert of_model.in_flight == 1
    inbox.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(answering, 30)
    assert (of_model.in_flight, parrot.closed) == (0, 1)


async def test_an_engine_that_breaks_is_told(client: httpx.AsyncClient, parrot: Parrot) -> None:
    assert (await client.get("/health")).status_code == 200
    parrot.works = False
    assert (await client.get("/health")).status_code == 503
    answer = await client.post("/v1/chat/completions", json=chat())
    assert (answer.status_code, answer.json()["error"]["message"]) == (500, "the engine broke")
    streamed = await client.post("/v1/chat/completions", json=chat(stream=True))
    assert '"the engine broke"' in streamed.text
    assert "[DONE]" not in streamed.text
    assert (await client.get("/load")).json() == {"server_load": 0}


async def test_tokens_are_counted_as_a_chat_would_count_them(client: httpx.AsyncClient) -> None:
    asked = {"messages": chat()["messages"], "tools": TOOLS}
    counted = (await client.post("/tokenize", json={"model": "tiny", **asked})).json()
    answer = (await client.post("/v1/chat/completions", json=chat(**asked))).json()
    assert counted["count"] == len(counted["tokens"]) == answer["usage"]["prompt_tokens"]
    assert counted["max_model_len"] == 200
    begun = (await client.post("/tokenize", json={**asked, "continue_final_message": True})).json()
    assert begun["count"] == counted["count"] - 1  # the turn does not end, so that the answer goes on with it
    plain = (await client.post("/tokenize", json={"prompt": "süß"})).json()
    assert plain["count"] == 5
    for body, status in (({}, 400), ({"prompt": "a", **asked}, 400), ({"model": "other", "prompt": "a"}, 404)):
        assert (await client.post("/tokenize", json=body)).status_code == status


async def test_models(client: httpx.AsyncClient) -> None:
    (model,) = (await client.get("/v1/models")).json()["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny", 200)
