"""Requests on their way to the engine, and those that are refused before anything wakes."""

from datetime import date
from typing import Any

import msgspec
import pytest

from dormouse_router.dialects.ollama import context
from dormouse_router.dialects.ollama.options import DEFAULTS
from dormouse_router.dialects.ollama.requests import ChatRequest, GenerateRequest, decode
from dormouse_router.dialects.ollama.translate import Plan, chat_plan, generate_plan, need_text
from dormouse_router.gateway import CHAT, COMPLETIONS
from dormouse_router.request import Refusal
from tests.router.dialects.records import record, with_capabilities

TODAY = date(2026, 1, 2)
BASE = {
    "model": "tiny-chat",
    "stream": True,
    "stream_options": {"include_usage": True, "continuous_usage_stats": True},
    **DEFAULTS,
}
HI = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
PNG = "iVBORw0KGgo="


def chat(record_: Any = None, **fields: Any) -> Plan:
    body = msgspec.json.encode({"model": "tiny", "messages": HI, **fields})
    return chat_plan(decode(body, ChatRequest), record_ or record(), "tiny", TODAY)


def generate(record_: Any = None, **fields: Any) -> Plan:
    body = msgspec.json.encode({"model": "tiny", "prompt": "hi", **fields})
    return generate_plan(decode(body, GenerateRequest), record_ or record(), "tiny", TODAY)


def test_a_plain_chat() -> None:
    plan = chat()
    assert plan.path == CHAT
    assert plan.body == {**BASE, "messages": HI}
    assert (plan.stream, plan.chat, plan.keep_alive, plan.turns) == (True, True, None, None)


@pytest.mark.parametrize(
    ("fields", "added"),
    [
        ({"format": ""}, {}),
        ({"format": None, "tools": None, "options": None, "think": None, "keep_alive": None, "logprobs": None}, {}),
        ({"an_unknown_field": 1}, {}),
        ({"format": "json"}, {"response_format": {"type": "json_object"}}),
        (
            {"format": {"type": "object"}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "format", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        ({"tools": [TOOL]}, {"tools": [TOOL]}),
        ({"tools": []}, {}),
        ({"logprobs": True}, {"logprobs": True, "top_logprobs": 0}),
        ({"logprobs": True, "top_logprobs": 5}, {"logprobs": True, "top_logprobs": 5}),
        ({"think": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
        ({"options": {"num_predict": 3}}, {"max_tokens": 3}),
    ],
)
def test_what_a_field_adds(fields: dict[str, Any], added: dict[str, Any]) -> None:
    assert chat(**fields).body == {**BASE, "messages": HI, **added}


@pytest.mark.parametrize(
    ("think", "added"),
    [
        (None, {"chat_template_kwargs": {"enable_thinking": True}}),
        (True, {"chat_template_kwargs": {"enable_thinking": True}}),
        (False, {"chat_template_kwargs": {"enable_thinking": False}}),
        *(
            (effort, {"chat_template_kwargs": {"enable_thinking": True}, "reasoning_effort": effort})
            for effort in ("low", "medium", "high", "max")
        ),
    ],
)
def test_a_thinking_model_thinks_unless_told_otherwise(think: object, added: dict[str, Any]) -> None:
    plan = chat(with_capabilities("completion", "thinking"), think=think)
    assert plan.body == {**BASE, "messages": HI, **added}


def test_stream_and_keep_alive() -> None:
    plan = chat(stream=False, keep_alive="10m")
    assert (plan.stream, plan.keep_alive) == (False, 600)
    assert plan.body["stream"] is True


def test_the_longest_context_caps_num_predict() -> None:
    short = record(engine={"maxModelLen": 512})
    assert chat(short, options={"num_predict": 10_000}).body["max_tokens"] == 512


def test_generate_goes_through_the_chat_template() -> None:
    plan = generate(system="be brief")
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (plan.path, plan.chat) == (CHAT, False)
    assert plan.body == {**BASE, "messages": turns}
    assert plan.turns == tuple(turns)


def test_generate_carries_the_conversation_on() -> None:
    before = [{"role": "system", "content": "old"}, {"role": "user", "content": "a"}]
    numbers = context.encode([*before, {"role": "assistant", "content": "b"}])
    assert [turn["content"] for turn in generate(context=numbers).body["messages"]] == ["old", "a", "b", "hi"]
    renewed = generate(context=numbers, system="new")
    assert [turn["content"] for turn in renewed.body["messages"]] == ["new", "a", "b", "hi"]


def test_images_of_generate_go_with_its_prompt_and_not_into_the_context() -> None:
    plan = generate(with_capabilities("completion", "vision"), images=[PNG])
    [message] = plan.body["messages"]
    assert [part["type"] for part in message["content"]] == ["text", "image_url"]
    assert plan.turns == ({"role": "user", "content": "hi"},)


def test_raw_and_suffix_go_without_a_template() -> None:
    raw = generate(raw=True, logprobs=True, top_logprobs=2, think=True)
    assert (raw.path, raw.turns) == (COMPLETIONS, None)
    assert raw.body == {**BASE, "prompt": "hi", "logprobs": 2, "max_tokens": 2048}
    fim = generate(with_capabilities("completion", "insert"), suffix="end")
    assert fim.path == COMPLETIONS
    assert fim.body == {**BASE, "prompt": "hi", "suffix": "end", "max_tokens": 2048}
    assert generate(raw=True, options={"num_predict": 3}).body["max_tokens"] == 3
    assert generate(record(status={}), raw=True).body["max_tokens"] == 1_000_000


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"format": "xml"}, "invalid format"),
        ({"format": 7}, "invalid format"),
        ({"think": "a lot"}, "think must be"),
        ({"think": 1.5}, "think must be"),
        ({"think": True}, '"tiny" does not support thinking'),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs must be between 0 and 20"),
        ({"keep_alive": "soon"}, "invalid duration"),
        ({"options": {"temperature": "x"}}, "must be of type float32"),
        ({"options": []}, "invalid request"),
        ({"messages": "hi"}, "invalid request"),
        ({"messages": [{"role": "user", "content": 7}]}, "invalid request"),
        ({"messages": [{"role": "user", "content": "x", "images": [PNG]}]}, "tiny:latest does not support vision"),
        ({"tools": [{"type": "function"}]}, "each of tools must be"),
        ({"stream": "yes"}, "invalid request"),
    ],
)
def test_bad_chats_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        chat(**fields)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"raw": True, "system": "x"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "template": "x"}, "raw mode does not support template, system, or context"),
        ({"raw": True, "images": [PNG]}, "raw mode does not support images"),
        ({"template": "{{ .Prompt"}, "template: line 1, column 1: an action is not closed"),
        ({"template": "{{ .Prompt }}", "suffix": "x"}, "its template speaks of no .Suffix"),
        ({"template": "{{ .Prompt }}", "images": [PNG]}, "does not support vision: its template"),
        ({"suffix": "x"}, "tiny:latest does not support insert"),
        ({"images": [PNG]}, "tiny:latest does not support vision"),
        ({"context": [1, 2, 3]}, "context was not made by this server"),
        ({"prompt": ["a"]}, "invalid request"),
    ],
)
def test_bad_generates_are_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        generate(**fields)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "invalid request"),
        (b"[]", "invalid request"),
        (b"\xff\xfe", "invalid request"),
        (b'{"model": "\xff"}', "invalid request"),
        (b'{"messages":' + b"[" * 100_000, "invalid request"),
    ],
)
def test_bodies_that_are_no_request(body: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words) as refused:
        decode(body, ChatRequest)
    assert refused.value.status == 400


def test_tools_need_a_model_that_knows_them_and_nothing_is_refused_before_it_was_inspected() -> None:
    with pytest.raises(Refusal, match="tiny:latest does not support tools"):
        chat(with_capabilities("completion"), tools=[TOOL])
    assert chat(record(status={}), tools=[TOOL], think=True).body["tools"] == [TOOL]


@pytest.mark.parametrize("capability", ["embedding", "image", "audio"])
def test_a_model_that_does_not_talk_does_not_chat(capability: str) -> None:
    with pytest.raises(Refusal, match='"e5" does not support chat'):
        need_text(with_capabilities(capability), "e5", "chat")
    need_text(with_capabilities("completion", "embedding"), "both", "chat")
