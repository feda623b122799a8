"""POST /chat over real sockets: whole, streamed, with tools, through aliases; and what the engine is asked."""

import json
from typing import Any

import httpx
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.engines import HI, USAGE
from tests.router.dialects.native.chats import (
    DURATIONS,
    PROMPT,
    STREAM,
    URL,
    WEATHER,
    chatting,
    events,
    saying,
    serving,
    streaming,
    text_of,
)
from tests.router.fakes import Engine, Stage, chat_chunk


@pytest.fixture
async def engine(world: Stage, make_engine: MakeEngine) -> Engine:
    made = await make_engine(engines.paris)
    await serving(world, made)
    return made


async def test_a_whole_answer_to_the_letter(client: httpx.AsyncClient, engine: Engine) -> None:
    answer = await client.post(URL, json=PROMPT)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    for duration in DURATIONS:
        assert body.pop(duration) >= 1
    assert body.pop("created_at").endswith("Z")
    assert body == {
        "model": "tiny",
        "message": {"role": "assistant", "content": "Paris."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": USAGE["prompt_tokens"],
        "eval_count": USAGE["completion_tokens"],
    }
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"
    assert "x-dormouse-hold-ms" in answer.headers
    assert engine.seen[0].json == {
        "model": "tiny-chat",
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "messages": [{"role": "user", "content": "Capital of France?"}],
    }


@pytest.mark.usefixtures("engine")
async def test_a_stream_to_the_letter(client: httpx.AsyncClient) -> None:
    answer = await client.post(URL, json=STREAM)
    *deltas, last = events(answer)
    assert deltas == [{"delta": {"content": word}, "done": False} for word in ("Par", "is", ".")]
    for duration in DURATIONS:
        assert last.pop(duration) >= 1
    assert last.pop("created_at").endswith("Z")
    assert last == {
        "delta": {"content": ""},
        "model": "tiny",
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 7,
        "eval_count": 3,
    }
    assert answer.headers["x-dormouse-model"] == "default/tiny-chat"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")


@pytest.mark.parametrize("name", ["tiny-chat", "tiny", "Org/Tiny", "default/tiny-chat"])
async def test_every_name_of_a_model_is_taken(client: httpx.AsyncClient, engine: Engine, name: str) -> None:
    body = (await client.post(URL, json={**PROMPT, "model": name})).json()
    assert (body["model"], body["message"]["content"]) == (name, "Paris.")
    assert engine.seen[-1].json["model"] == "tiny-chat"


@pytest.mark.parametrize(
    ("said", "messages"),
    [
        ({"message": "Hi"}, [{"role": "user", "content": "Hi"}]),
        ({"messages": HI}, HI),
        (
            {"prompt": "Hi", "system": "Be brief."},
            [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
            [{"role": "user", "content": "ab"}],
        ),
    ],
)  # fmt: skip
async def test_every_way_to_say_something(
    client: httpx.AsyncClient, engine: Engine, said: dict[str, Any], messages: list[Any]
) -> None:
    answer = await client.post(
        URL, content=json.dumps({"model": "tiny", **said}), headers={"content-type": "text/plain"}
    )
    assert answer.status_code == 200
    assert engine.seen[-1].json["messages"] == messages


NOW = {"name": "now", "parameters": {"type": "object", "properties": {}}}
PARAMETERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"temperature": 0}, {"temperature": 0.0}),
    ({"temperature": 2, "top_p": 1, "top_k": 40}, {"temperature": 2.0, "top_p": 1.0, "top_k": 40}),
    ({"top_p": 0}, {"top_p": 1e-6}),
    ({"repetition_penalty": 1.1, "max_tokens": 9}, {"repetition_penalty": 1.1, "max_tokens": 9}),
    ({"max_tokens": 2048}, {"max_tokens": 2048}),
    ({"stop": ["a", "b"], "seed": 7}, {"stop": ["a", "b"], "seed": 7}),
    ({"min_p": 0.1, "presence_penalty": -2}, {"min_p": 0.1, "presence_penalty": -2.0}),
    ({"frequency_penalty": 2}, {"frequency_penalty": 2.0}),
    ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
    ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    ({"tools": [WEATHER], "tool_choice": "required"}, {"tools": [WEATHER], "tool_choice": "required"}),
    ({"tools": [{"name": "now"}]}, {"tools": [{"type": "function", "function": NOW}]}),
    ({"temperature": None, "top_k": None, "tools": None, "session_id": None, "whatever": 1}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "wanted"), PARAMETERS)
async def test_parameters(
    client: httpx.AsyncClient, engine: Engine, sent: dict[str, Any], wanted: dict[str, Any]
) -> None:
    assert (await client.post(URL, json={**PROMPT, **sent})).status_code == 200
    body = engine.seen[-1].json
    for key in ("model", "messages", "stream", "stream_options"):
        del body[key]
    assert body == wanted


async def test_a_length_that_ended_the_answer_is_said(client: httpx.AsyncClient, engine: Engine) -> None:
    engine.serve = saying("Par", finish="length")
    assert (await client.post(URL, json=PROMPT)).json()["done_reason"] == "length"
    assert events(await client.post(URL, json=STREAM))[-1]["done_reason"] == "length"


async def test_an_answer_without_usage_counts_nothing(client: httpx.AsyncClient, engine: Engine) -> None:
    chunks = [chat_chunk("Hi"), {"choices": [], "usage": None}, {"choices": []}, chat_chunk("", finish="stop")]
    engine.serve = streaming([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks])
    body = (await client.post(URL, json=PROMPT)).json()
    assert (body["message"]["content"], body["prompt_eval_count"], body["eval_count"]) == ("Hi", 0, 0)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_is_told_apart(client: httpx.AsyncClient, engine: Engine, field: str) -> None:
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {field: "hm"}}]},
        chat_chunk("Yes"),
        chat_chunk("", finish="stop"),
    ]
    engine.serve = streaming([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks])
    message = (await client.post(URL, json=PROMPT)).json()["message"]
    assert message == {"role": "assistant", "content": "Yes", "thinking": "hm"}
    first = events(await client.post(URL, json=STREAM))[0]
    assert first == {"delta": {"content": "", "thinking": "hm"}, "done": False}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7])
async def test_a_stream_cut_anywhere_is_the_same_text(client: httpx.AsyncClient, engine: Engine, size: int) -> None:
    words = ["héé", "\U0001f600\u20ac", '"\n\\', "data: x\n\n", "\u2028"]
    chunks = [chat_chunk(word) for word in words] + [chat_chunk("", finish="stop")]
    raw = b"".join(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\r\n\r\n" for chunk in chunks)
    engine.serve = streaming([raw[i : i + size] for i in range(0, len(raw), size)])
    async with client.stream("POST", URL, json=STREAM) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    text = b"".join(pieces).decode()
    found = [json.loads(event[6:]) for event in text.split("\n\n") if event]
    assert text_of(found) == "".join(words)
    assert found[-1]["done"] is True
    assert (await client.post(URL, json=PROMPT)).json()["message"]["content"] == "".join(words)


# ---------------------------------------------------------------------------------------------------- tools


@pytest.mark.parametrize("stream", [True, False])
async def test_two_steps_with_a_tool_and_a_history(client: httpx.AsyncClient, engine: Engine, stream: bool) -> None:
    engine.serve = engines.tools
    session = {"session_id": f"trip-{stream}", "model": "tiny", "tools": [WEATHER], "stream": stream}
    answer = await client.post(URL, json={**session, "prompt": "Weather in Paris?"})
    if stream:
        found = events(answer)
        [call] = next(event["delta"]["tool_calls"] for event in found if "tool_calls" in event.get("delta", {}))
    else:
        [call] = answer.json()["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}
    engine.serve = engines.paris
    result = {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"}
    again = await client.post(URL, json={**session, "messages": [result]})
    assert (text_of(events(again)) if stream else again.json()["message"]["content"]) == "Paris."
    question, asked, told = engine.seen[-1].json["messages"]
    assert question == {"role": "user", "content": "Weather in Paris?"}
    assert asked["tool_calls"] == [
        {"id": call["id"], "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
    ]
    assert told == {"role": "tool", "tool_call_id": call["id"], "content": "18 degrees"}
    kept = (await client.get(f"/sessions/{session['session_id']}")).json()["messages"]
    assert [message["role"] for message in kept] == ["user", "assistant", "tool", "assistant"]


async def test_a_tools_result_by_name_finds_its_call_in_the_history(client: httpx.AsyncClient, engine: Engine) -> None:
    engine.serve = engines.tools
    session = {"session_id": "s", "model": "tiny", "tools": [WEATHER]}
    [call] = (await client.post(URL, json={**session, "prompt": "?"})).json()["message"]["tool_calls"]
    await client.post(URL, json={**session, "messages": [{"role": "tool", "tool_name": "weather", "content": "18"}]})
    assert engine.seen[-1].json["messages"][-1]["tool_call_id"] == call["id"]


async def test_two_calls_in_pieces_and_one_that_is_no_object(client: httpx.AsyncClient, engine: Engine) -> None:
    def part(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        call = {"index": index, "function": {"arguments": arguments, **more}}
        return {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}

    chunks = [
        part(0, '{"a"', name="f"),
        part(0, ": 1}"),
        part(1, "", name="g"),
        part(2, "[1", name="h"),
        chat_chunk("", finish="tool_calls"),
    ]
    engine.serve = streaming([b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks])
    message = (await client.post(URL, json={**PROMPT, "tools": [WEATHER]})).json()["message"]
    assert [call["function"]["name"] for call in message["tool_calls"]] == ["f", "g"]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == [{"a": 1}, {}]
    assert message["content"] == "h([1)"
    deltas = [event["delta"] for event in events(await client.post(URL, json={**STREAM, "tools": [WEATHER]}))]
    assert [len(delta.get("tool_calls", ())) for delta in deltas] == [1, 1, 0, 0]
    assert deltas[2]["content"] == "h([1)"


async def test_a_client_of_another_router_gets_the_same(make_engine: MakeEngine) -> None:
    async with chatting(await make_engine(saying("Hi"))) as client:
        assert (await client.post(URL, json=PROMPT)).json()["message"]["content"] == "Hi"
