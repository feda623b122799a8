"""A Messages request as the engine gets it: a table row per field, and what is refused before a model is woken."""

import json
from typing import Any

import pytest

from dormouse_router.dialects.anthropic.requests import CountRequest, MessagesRequest, decode
from dormouse_router.dialects.anthropic.translate import count_plan
from dormouse_router.request import Refusal
from tests.router.dialects.anthropic.bodies import (
    CALL,
    CAPABLE,
    HI,
    PICTURE,
    PLAIN,
    PNG,
    SCHEMA,
    STREAMED,
    WEATHER,
    WEATHER_SENT,
    plan,
    sent,
)
from tests.router.dialects.records import record, with_capabilities


def test_the_least_a_client_can_send() -> None:
    assert sent() == {"model": "tiny-chat", "messages": HI, "max_tokens": 9, "stream": False}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"stream": True}, STREAMED),
        ({"stream": None}, {"stream": False}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": 1.5}, {"temperature": 1.5}),
        ({"top_p": 0.5, "top_k": 3}, {"top_p": 0.5, "top_k": 3}),
        ({"top_p": 0, "top_k": -1}, {"top_p": 1e-6, "top_k": 0}),
        ({"stop_sequences": ["a", "", "b"]}, {"stop": ["a", "b"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u1"}}, {"user": "u1"}),
        ({"metadata": {"user_id": None}}, {}),
        ({"max_tokens": 64000}, {"max_tokens": 2048}),
        ({"system": "be brief"}, {"messages": [{"role": "system", "content": "be brief"}, *HI]}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "format", "schema": SCHEMA, "strict": True},
                }
            },
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {}),
        (dict.fromkeys(("system", "temperature", "top_p", "top_k", "stop_sequences", "tools", "thinking")), {}),
        (dict.fromkeys(("tool_choice", "metadata", "output_config", "output_format")), {}),
        ({"service_tier": "auto", "container": "c", "mcp_servers": [], "context_management": {}, "x": 1}, {}),
    ],
)
def test_a_field(given: dict[str, Any], expected: dict[str, Any]) -> None:
    least = {"model": "tiny-chat", "messages": HI, "max_tokens": 9, "stream": False}
    assert sent(**given) == least | expected


@pytest.mark.parametrize(
    ("given", "expected", "shown"),
    [
        ({}, {"enable_thinking": False}, True),
        ({"thinking": {"type": "disabled"}}, {"enable_thinking": False}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"enable_thinking": True}, True),
        ({"thinking": {"type": "adaptive", "display": "summarized"}}, {"enable_thinking": True}, True),
        ({"thinking": {"type": "between_tools"}}, {"enable_thinking": True}, True),
    ],
)
def test_thinking(given: dict[str, Any], expected: dict[str, Any], shown: bool) -> None:
    found = plan(CAPABLE, **given)
    assert found.body["chat_template_kwargs"] == expected
    assert (found.show_thinking, found.tagged, found.sign_only) == (shown, True, False)


def test_effort_needs_thinking() -> None:
    wish = {"output_config": {"effort": "xhigh"}, "thinking": {"type": "adaptive"}}
    assert sent(CAPABLE, **wish)["reasoning_effort"] == "xhigh"
    assert "reasoning_effort" not in sent(PLAIN, **wish)
    assert "reasoning_effort" not in sent(CAPABLE, output_config=wish["output_config"])
    assert plan(CAPABLE, thinking={"type": "adaptive", "display": "omitted"}).sign_only


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, {}),
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        ({"type": "tool", "name": "weather"}, {"tool_choice": {"type": "function", "function": {"name": "weather"}}}),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
    ],
)
def test_tools_and_the_choice_among_them(choice: Any, expected: dict[str, Any]) -> None:
    tools = [WEATHER, {"type": "custom", "name": "b", "input_schema": {}, "strict": True, "cache_control": {}}]
    found = sent(CAPABLE, tools=tools, tool_choice=choice)
    other = {"type": "function", "function": {"name": "b", "parameters": {}, "strict": True}}
    assert found["tools"] == [WEATHER_SENT, other]
    assert {key: found[key] for key in ("tool_choice", "parallel_tool_calls") if key in found} == expected


# ---------------------------------------------------------------------------------------------------- refused


def block(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [fields]}]}


def image(**source: Any) -> dict[str, Any]:
    return block(type="image", source=source)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model": ""}, "model: name the model"),
        ({"model": 7}, "model: Expected 'str', got 'int'"),
        ({"max_tokens": 0}, "max_tokens: must be at least 1"),
        ({"max_tokens": "9"}, "max_tokens: Expected 'int'"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "user"}]}, "messages.0.content: Field required"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role: must be 'user' or 'assistant'"),
        ({"messages": [*HI, {"role": "user", "content": [{"text": "x"}]}]}, "messages.1.content.0.type: Field req"),
        ({"messages": [*HI, {"role": "user", "content": 7}]}, "messages.1.content: Expected"),
        (block(type="text"), "messages.0.content.0.text: Field required"),
        (block(type="server_tool_use"), "'server_tool_use' blocks are not taken here: send text"),
        (block(type="tool_result"), "messages.0.content.0.tool_use_id: Field required"),
        (image(type="file", file_id="f"), "send an image as base64"),
        (image(type="url", url="file:///etc/passwd"), "url with http"),
        (image(type="base64", media_type="image/bmp", data=PNG), "media_type: must be one of image/jpeg"),
        (image(type="base64", media_type="image/png", data="not base64!"), "source.data: not base64"),
        (image(type="base64", media_type="image/png", data=""), "source.data: not base64"),
        (block(type="document", source={"type": "base64", "data": PNG}), "only documents of plain text"),
        ({"messages": [{"role": "assistant", "content": [PICTURE]}]}, "'image' blocks are not taken here: send"),
        (
            {"messages": [{"role": "assistant", "content": [{**CALL, "input": "x"}]}]},
            "input: Input should be an object",
        ),
        ({"messages": [{"role": "assistant", "content": [{**CALL, "id": None}]}]}, "id: Field required"),
        ({"system": [PICTURE]}, "system.0.type: 'image' blocks are not taken here"),
        ({"temperature": 2.1}, "temperature: must be from 0 to 2"),
        ({"temperature": -0.1}, "temperature: must be from 0 to 2"),
        ({"top_p": 1.1}, "top_p: must be from 0 to 1"),
        ({"stop_sequences": "x"}, "stop_sequences: Expected"),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema: Field required"),
        ({"tools": [{"name": "a", "input_schema": 1}]}, "tools.0.input_schema: Input should be an object"),
        ({"tools": [{"name": "", "input_schema": {}}]}, "tools.0.name: Field required"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "a tool of Anthropic's own: send one"),
        ({"tool_choice": {"type": "any"}}, "tool_choice: 'any' needs tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "b"}}, "'b' is not among the tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "most"}}, "tool_choice.type: must be auto, any, tool or none"),
        ({"thinking": {"type": "deep"}}, "thinking.type: must be enabled"),
        ({"output_config": {"effort": "some"}}, "output_config.effort: must be one of low"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format: must be of type json_schema"),
    ],
)
def test_refused_in_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan(CAPABLE, **fields)
    assert refused.value.status == 400
    assert words in refused.value.message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no body"),
        (b"{", "not valid JSON"),
        (b"[]", "Expected 'object', got 'array'"),
        (b"\xff", "not valid JSON"),
        (b'{"model":"m","messages":[]}', "max_tokens: Field required"),
        (b'{"max_tokens":1,"messages":[]}', "model: Field required"),
        (b'{"model":"m","max_tokens":1}', "messages: Field required"),
    ],
)
def test_what_is_no_request_at_all(body: bytes, words: str) -> None:
    with pytest.raises(Refusal, match=words):
        decode(body, MessagesRequest)


def test_a_model_that_cannot() -> None:
    with pytest.raises(Refusal, match="'tiny' does not take images: send text"):
        plan(PLAIN, messages=[{"role": "user", "content": [PICTURE]}])
    with pytest.raises(Refusal, match="'tiny' only embeds: use POST /v1/embeddings"):
        plan(with_capabilities("embedding"))
    assert plan(record(status={}), messages=[{"role": "user", "content": [PICTURE]}]).body["max_tokens"] == 9


# ---------------------------------------------------------------------------------------------------- counting


def test_a_count_asks_for_the_same_conversation() -> None:
    body = {"model": "tiny", "system": "s", "messages": HI, "tools": [WEATHER], "thinking": {"type": "adaptive"}}
    found = count_plan(decode(json.dumps(body).encode(), CountRequest), CAPABLE)
    assert json.loads(found.payload) == {
        "model": "tiny-chat",
        "messages": [{"role": "system", "content": "s"}, *HI],
        "tools": [WEATHER_SENT],
        "chat_template_kwargs": {"enable_thinking": True},
    }


def test_room_for_a_shorter_answer() -> None:
    wish = plan(max_tokens=100)
    assert wish.body["max_tokens"] == 100
    shorter = wish.with_room(40)
    assert shorter is not None
    assert shorter.body["max_tokens"] == 40
    for none in (None, 0, -3, 100, 200):
        assert wish.with_room(none) is None


def test_calls_of_one_user_meet() -> None:
    assert plan(metadata={"user_id": "ü" * 300}).session == ("ü" * 256).encode()
    assert plan().session == b""
