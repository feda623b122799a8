"""The engine's stream and the client's: the same bytes, but where the request asks for what engines do not say."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dataplane.peek import Peek
from dormouse_router.dialects.openai.edits import Edits
from tests.router.dialects import engines
from tests.router.dialects.engines import HI, USAGE
from tests.router.dialects.openai.streams import DONE, LAST, chunks, delta, saying, sse, tool
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Engine, Exchange, Stage

URL = "/v1/chat/completions"
STREAM: dict[str, Any] = {"model": "tiny-chat", "messages": HI, "stream": True}
WITH_USAGE = STREAM | {"stream_options": {"include_usage": True}}
RUNNING = {"include_usage": True, "continuous_usage_stats": True}
TOOLS = [{"type": "function", "function": {"name": "weather"}}]
FORCED = {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "weather"}}}
FUNCTIONS = {"functions": [{"name": "weather"}]}
NAMED_FUNCTION = FUNCTIONS | {"function_call": {"name": "weather"}}
FIRST = delta(role="assistant", content="")
CALL = (FIRST, tool(0, '{"city":', "call_a"), tool(0, '"Oslo"}'), tool(1, "{}", "call_b"))
SAID = sse(FIRST, delta(content="Zo\u00eb \u65e5\u672c \U0001f42d"), delta(content='"usage":"x"'), delta("stop")) + DONE


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(STREAM, SAID, id="plain"),
        pytest.param(STREAM | {"n": 2}, sse(FIRST, delta(index=1, content="x"), delta("length", 1)) + DONE, id="n"),
        pytest.param(STREAM | {"tools": TOOLS}, sse(*CALL, delta("tool_calls")) + DONE, id="tools in pieces"),
        pytest.param(WITH_USAGE, sse(LAST) + DONE, id="only a usage"),
        pytest.param(STREAM, DONE, id="nothing at all"),
    ],
)
async def test_a_stream_that_needs_nothing_passes_byte_for_byte(
    client: httpx.AsyncClient, serving: Engine, body: Any, said: bytes
) -> None:
    serving.serve = saying(said)
    answer = await client.post(URL, json=body)
    assert answer.content == said
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["openai-version"] == "2020-10-01"
    assert int(answer.headers["openai-processing-ms"]) >= 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
async def test_no_cut_of_the_network_reaches_the_client(client: httpx.AsyncClient, serving: Engine, size: int) -> None:
    """Inside UTF-8, inside a key, inside the line ends: whole events come out."""
    serving.serve = saying(*(SAID[at : at + size] for at in range(0, len(SAID), size)))
    pieces = []
    async with client.stream("POST", URL, json=WITH_USAGE) as answer:
        async for piece in answer.aiter_raw():
            assert piece.decode().endswith("\n\n")
            pieces.append(piece)
    assert b"".join(pieces) == SAID.replace(b"}\n\n", b',"usage":null}\n\n')


async def test_every_chunk_but_the_last_has_no_usage_where_it_was_asked_for(
    client: httpx.AsyncClient, serving: Engine
) -> None:
    serving.serve = engines.paris
    *said, last = chunks((await client.post(URL, json=WITH_USAGE)).text)
    assert [chunk["usage"] for chunk in said] == [None] * 4
    assert (last["choices"], last["usage"]) == ([], USAGE)
    assert serving.seen[0].json["stream_options"] == RUNNING
    assert all("usage" not in chunk for chunk in chunks((await client.post(URL, json=STREAM)).text))


async def test_running_usage_is_left_to_the_engine(client: httpx.AsyncClient, serving: Engine) -> None:
    said = sse({**FIRST, "usage": {"prompt_tokens": 1}}, LAST) + DONE
    serving.serve = saying(said)
    assert (await client.post(URL, json=STREAM | {"stream_options": RUNNING})).content == said


async def test_a_forced_call_ends_for_its_own_reason(client: httpx.AsyncClient, serving: Engine) -> None:
    """vLLM says `stop` for a function that had to be called."""
    serving.serve = saying(sse(*CALL), sse(delta("stop")) + DONE)
    said = chunks((await client.post(URL, json=STREAM | FORCED)).text)
    assert said[-1]["choices"][0]["finish_reason"] == "tool_calls"
    assert said[:-1] == list(CALL)
    serving.serve = saying(sse(*CALL, delta("length")) + DONE)
    assert chunks((await client.post(URL, json=STREAM | FORCED)).text)[-1]["choices"][0]["finish_reason"] == "length"
    serving.serve = saying(sse(FIRST, delta("stop", content="no")) + DONE)
    assert chunks((await client.post(URL, json=STREAM | FORCED)).text)[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(("asked", "ended"), [(FUNCTIONS, "tool_calls"), (NAMED_FUNCTION, "stop")])
async def test_calls_come_as_functions_where_only_those_are_known(
    client: httpx.AsyncClient, serving: Engine, asked: Any, ended: str
) -> None:
    serving.serve = saying(sse(*CALL, delta(ended)) + DONE)
    said = [chunk["choices"][0] for chunk in chunks((await client.post(URL, json=STREAM | asked)).text)]
    calls = [choice["delta"].get("function_call") for choice in said]
    assert calls == [None, {"name": "weather", "arguments": '{"city":'}, {"arguments": '"Oslo"}'}, None, None]
    assert said[-1]["finish_reason"] == "function_call"
    assert not any("tool_calls" in choice["delta"] for choice in said)


async def test_a_function_whose_parts_come_in_one_event_is_called_whole(
    client: httpx.AsyncClient, serving: Engine
) -> None:
    """vLLM puts the tokens together that a slow reader has not taken: then a call's name and arguments come at once."""
    parts = [{"name": "weather"}, {"arguments": '{"city":'}, {"arguments": '"Oslo"}'}]
    calls = [{"index": 0, "function": part} for part in parts]
    both = delta(tool_calls=[*calls, {"index": 1, "function": {"name": "other", "arguments": "{}"}}])
    serving.serve = saying(sse(FIRST, both, delta("tool_calls")) + DONE)
    said = chunks((await client.post(URL, json=STREAM | FUNCTIONS)).text)
    assert said[1]["choices"][0]["delta"] == {"function_call": {"name": "weather", "arguments": '{"city":"Oslo"}'}}


@pytest.mark.parametrize("told_by", ["capability", "parser"])
async def test_reasoning_has_both_of_its_names(
    world: Stage, client: httpx.AsyncClient, engine: Engine, told_by: str
) -> None:
    capable = known_status(capabilities=["completion", "thinking"]) if told_by == "capability" else known_status()
    parser: dict[str, Any] = {"engine": {"reasoningParser": "qwen3"}} if told_by == "parser" else {}
    world.cluster.add_model(model("thinker", status=capable, **parser))
    await world.awake(engine, name="thinker")
    thought = 'so "x" \\ \n \u00eb'
    engine.serve = saying(sse(FIRST, delta(reasoning=thought), delta(content='"reasoning":"no"'), delta("stop")) + DONE)
    said = [c["choices"][0]["delta"] for c in chunks((await client.post(URL, json=STREAM | {"model": "thinker"})).text)]
    assert said[1] == {"reasoning": thought, "reasoning_content": thought}
    assert said[2] == {"content": '"reasoning":"no"'}

    async def whole(exchange: Exchange) -> None:
        message = {"role": "assistant", "content": "x", "reasoning": thought}
        await exchange.answer({"choices": [{"message": message}], "model": "thinker"})

    engine.serve = whole
    answer = await client.post(URL, json={"model": "thinker", "messages": HI})
    message = answer.json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "x", "reasoning": thought, "reasoning_content": thought}


@pytest.mark.parametrize(
    ("asked", "finish", "message"),
    [
        (FORCED, "tool_calls", {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}),
        (FUNCTIONS, "function_call", {"function_call": {"name": "f"}}),
        (NAMED_FUNCTION, "function_call", {"function_call": {"name": "f"}}),
    ],
)
async def test_so_does_an_answer_that_is_not_streamed(
    client: httpx.AsyncClient, serving: Engine, asked: Any, finish: str, message: dict[str, Any]
) -> None:
    async def call(exchange: Exchange) -> None:
        said = {"content": None, "tool_calls": [{"id": "a", "function": {"name": "f"}}]}
        ended = "tool_calls" if asked is FUNCTIONS else "stop"
        await exchange.answer({"choices": [{"index": 0, "message": said, "finish_reason": ended}]})

    serving.serve = call
    body = {"model": "tiny-chat", "messages": HI} | asked
    choice = (await client.post(URL, json=body)).json()["choices"][0]
    assert choice == {"index": 0, "message": {"content": None, **message}, "finish_reason": finish}


texts = st.text(max_size=12) | st.sampled_from(
    ['"usage":', '"reasoning":"x"', '{"error"', "}\n\n", "data: ", '"finish_reason":"stop"', '"tool_calls":', "[DONE]"]
)


@given(st.lists(texts, max_size=5), texts, st.booleans())
def test_no_text_is_taken_for_what_it_only_looks_like(words: list[str], thought: str, ascii_only: bool) -> None:
    """Whatever a model says, the changes are those of the keys, and the events stay as many."""
    events: list[Any] = [FIRST, delta(reasoning=thought), *(delta(content=word) for word in words), delta("stop"), LAST]
    raw = b"".join(b"data: " + json.dumps(event, ensure_ascii=ascii_only).encode() + b"\n\n" for event in events)
    edits = Edits(Peek("m", usage=True, forced=True), reasoning=True)
    found = chunks((edits.events(raw) + DONE).decode())
    events[1]["choices"][0]["delta"]["reasoning_content"] = thought
    assert found == [*({**event, "usage": None} for event in events[:-1]), LAST]
