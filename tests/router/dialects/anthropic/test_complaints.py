"""What users report of servers that speak Anthropic's API, and that it is not true of this one: a test per report."""

import json
from typing import Any

import httpx
import pytest

from tests.router.dialects import engines
from tests.router.dialects.anthropic.asking import BODY, STREAM, URL, events, in_band, refused
from tests.router.dialects.anthropic.bodies import WEATHER
from tests.router.fakes import Engine, Exchange, chat_chunk, chat_completion

TOOLS = {"tools": [WEATHER]}


def completion(finish: str, **message: Any) -> dict[str, Any]:
    """An engine's whole answer."""
    answer = chat_completion("")
    answer["choices"] = [{"index": 0, "message": {"role": "assistant", "content": None, **message}}]
    answer["choices"][0]["finish_reason"] = finish
    return answer


CALLS = [{"index": 0, "id": "x", "type": "function", "function": {"name": "weather", "arguments": '{"c": "Paris"}'}}]


async def test_the_parts_of_a_call_belong_to_one_block_with_id_and_name(
    client: httpx.AsyncClient, serving: Engine
) -> None:
    """ollama#7881, LibreChat#13987: streamed calls without index, id or name."""
    serving.serve = engines.tools
    found = events(await client.post(URL, json={**STREAM, **TOOLS}))
    [begun] = [event for event in found if event["type"] == "content_block_start"]
    assert begun["content_block"]["id"].startswith("toolu_")
    assert begun["content_block"]["name"] == "weather"
    parts = [event for event in found if event["type"] == "content_block_delta"]
    assert {event["index"] for event in parts} == {begun["index"]}
    assert json.loads("".join(event["delta"]["partial_json"] for event in parts)) == {"city": "Paris"}


@pytest.mark.parametrize("finish", ["tool_calls", "stop"])
@pytest.mark.parametrize("stream", [True, False])
async def test_it_ends_for_its_call(client: httpx.AsyncClient, serving: Engine, finish: str, stream: bool) -> None:
    """litellm#35663, model_server#3927, vllm PR25054, ollama PR7963: "stop" although tools were called."""

    async def calls(exchange: Exchange) -> None:
        if not stream:
            await exchange.answer(completion(finish, tool_calls=CALLS))
            return
        await exchange.stream_head()
        await exchange.event({"choices": [{"index": 0, "delta": {"tool_calls": CALLS}, "finish_reason": None}]})
        await exchange.event(chat_chunk("", finish=finish))
        await engines.finish(exchange)

    serving.serve = calls
    answer = await client.post(URL, json={**BODY, **TOOLS, "stream": stream})
    ended = events(answer)[-2]["delta"] if stream else answer.json()
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("tool_use", None)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
async def test_the_choice_of_tools_reaches_the_engine(
    client: httpx.AsyncClient, serving: Engine, choice: Any, sent: Any
) -> None:
    """ollama#17921, #8421: tool_choice is ignored."""
    await client.post(URL, json={**STREAM, **TOOLS, "tool_choice": choice})
    assert serving.seen[-1].json["tool_choice"] == sent


@pytest.mark.parametrize("body", [BODY, STREAM])
@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "too odd", "type": "BadRequestError", "code": 400}},
        {"object": "error", "message": "too odd", "code": 400},
        {"detail": "too odd"},
        {"error": "too odd"},
    ],
)
async def test_errors_have_their_envelope_whatever_the_engine_says(
    client: httpx.AsyncClient, serving: Engine, body: Any, error: Any
) -> None:
    """vllm#12886, ray#64833, autogen PR757: a flat error, `detail`, or a bare string."""
    serving.serve = engines.refusing(400, error)
    assert refused(await client.post(URL, json=body)) == (400, "invalid_request_error", "too odd")


async def test_unknown_fields_and_betas_are_ignored(client: httpx.AsyncClient, serving: Engine) -> None:
    """vllm PR10463 (#10093, #5797, #10015, #6890): what is not known is rejected."""
    text = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}, "citations": None, "new": 1}
    unknown: dict[str, Any] = {
        "mcp_servers": [],
        "container": None,
        "context_management": {"edits": []},
        "new": {"a": 1},
    }
    body = {**STREAM, "messages": [{"role": "user", "content": [text]}], "system": [text], **unknown}
    headers = {"anthropic-beta": "a-2025-01-01,b-2026-01-01", "anthropic-version": "2099-01-01", "x-api-key": "any"}
    assert (await client.post(URL, json=body, headers=headers)).status_code == 200
    assert serving.seen[-1].json["messages"] == [{"role": role, "content": "hi"} for role in ("system", "user")]
    assert serving.seen[-1].json.keys().isdisjoint(unknown)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_is_thinking(client: httpx.AsyncClient, serving: Engine, field: str, stream: bool) -> None:
    """vllm#27755, #38488, PR50624, dify#33342, strands#2182: `reasoning` or `reasoning_content`, and one is lost."""

    async def thinks(exchange: Exchange) -> None:
        if not stream:
            await exchange.answer(completion("stop", content="4", **{field: "hm"}))
            return
        await exchange.stream_head()
        for delta in ({field: "hm"}, {"content": "4"}):
            await exchange.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        await exchange.event(chat_chunk("", finish="stop"))
        await engines.finish(exchange)

    serving.serve = thinks
    answer = await client.post(URL, json={**BODY, "stream": stream})
    if stream:
        begun = [event["content_block"] for event in events(answer) if event["type"] == "content_block_start"]
        deltas = [event["delta"] for event in events(answer) if event["type"] == "content_block_delta"]
        assert [delta["type"] for delta in deltas] == ["thinking_delta", "signature_delta", "text_delta"]
    else:
        begun = answer.json()["content"]
        assert (begun[0]["thinking"], begun[1]["text"]) == ("hm", "4")
    assert [block["type"] for block in begun] == ["thinking", "text"]


@pytest.mark.parametrize(
    ("serve", "words"), [(engines.dies_mid_stream, "broke off"), (engines.fails_mid_stream, "out of blocks")]
)
async def test_a_failure_is_never_a_normal_end(
    client: httpx.AsyncClient, serving: Engine, serve: Any, words: str
) -> None:
    """litellm#40578, #32086, any-llm PR847: errors in a stream are swallowed."""
    serving.serve = serve
    answer = await client.post(URL, json=STREAM)
    assert words in in_band(answer)[1]
    assert not any(event["type"] == "message_stop" for event in events(answer))


async def test_who_does_not_want_a_stream_gets_one_object(client: httpx.AsyncClient, serving: Engine) -> None:
    """litellm PR25766: a stream for `stream: false`."""

    async def whole(exchange: Exchange) -> None:
        assert not exchange.json["stream"]
        await exchange.answer(chat_completion("Paris."))

    serving.serve = whole
    answer = await client.post(URL, json={**BODY, "stream": False})
    assert (answer.headers["content-type"], answer.json()["type"]) == ("application/json", "message")


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 7}, {"prompt_tokens": 7, "completion_tokens": None}])
async def test_chunks_without_choices_and_half_a_usage_do_no_harm(
    client: httpx.AsyncClient, serving: Engine, usage: Any
) -> None:
    """apfel#100, ATOM PR1711, litellm#36553, cline PR8518: empty choices or no usage crash the client."""

    async def odd(exchange: Exchange) -> None:
        await exchange.stream_head()
        await exchange.event({"choices": [], "usage": None})
        await exchange.event(chat_chunk("Paris."))
        await exchange.event(chat_chunk("", finish="stop"))
        await exchange.event({"choices": [], "usage": usage})
        await exchange.finish()

    serving.serve = odd
    *_, last, stop = events(await client.post(URL, json=STREAM))
    assert stop == {"type": "message_stop"}
    assert last["usage"]["output_tokens"] == 0
    assert last["usage"]["input_tokens"] == (usage or {}).get("prompt_tokens", 0)


async def test_what_is_too_long_is_said_and_not_cut(client: httpx.AsyncClient, serving: Engine) -> None:
    """ollama#4447, #2722, #2677, #6286: silent truncation."""
    words = "This model's maximum context length is 8 tokens. However, your prompt contains 600 input tokens"
    serving.serve = engines.refusing(400, {"error": {"message": words, "code": 400}})
    assert refused(await client.post(URL, json=STREAM)) == (400, "invalid_request_error", words)
    assert "truncate_prompt_tokens" not in serving.seen[-1].json
