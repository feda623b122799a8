"""Each field of a request as the engine's, row by row, and as the answer repeats it."""

import json
from typing import Any

import pytest

from dormouse_router.dialects.openai.responses.items import Ids, text_message
from dormouse_router.dialects.openai.responses.objects import draft
from dormouse_router.dialects.openai.responses.requests import CountRequest, read
from dormouse_router.dialects.openai.responses.translate import count_plan
from dormouse_router.request import Refusal
from tests.router.dialects.openai.responses.bodies import (
    CAPABLE,
    HI,
    PLAIN,
    PNG,
    SCHEMA,
    TIME,
    TIME_SENT,
    WEATHER,
    WEATHER_SENT,
    sent,
    wish,
)
from tests.router.dialects.openai.responses.events import IDENT
from tests.router.dialects.records import known_status, record, with_capabilities


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({}, {}),
        ({"stream": True}, {}),
        ({"max_output_tokens": 7}, {"max_tokens": 7}),
        ({"max_output_tokens": 10**9}, {"max_tokens": 2048}),
        ({"temperature": 0, "top_p": 0}, {"temperature": 0, "top_p": 1e-6}),
        ({"presence_penalty": 1, "frequency_penalty": -2}, {"presence_penalty": 1, "frequency_penalty": -2}),
        ({"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}}, {"user": "u"}),
        ({"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"include": ["message.output_text.logprobs"]}, {"logprobs": True, "top_logprobs": 0}),
        ({"include": ["reasoning.encrypted_content"]}, {}),
        ({"tools": [WEATHER]}, {"tools": [WEATHER_SENT]}),
        ({"tools": [TIME | {"parameters": None}]}, {"tools": [TIME_SENT]}),
        (
            {"tools": [WEATHER, {"type": "web_search_preview"}], "tool_choice": "auto"},
            {"tools": [WEATHER_SENT], "tool_choice": "auto"},
        ),
        ({"tools": [{"type": "web_search", "search_context_size": "low"}], "tool_choice": "auto"}, {}),
        ({"tools": [WEATHER], "tool_choice": "required"}, {"tools": [WEATHER_SENT], "tool_choice": "required"}),
        (
            {"tools": [WEATHER], "tool_choice": "none", "parallel_tool_calls": False},
            {"tools": [WEATHER_SENT], "tool_choice": "none", "parallel_tool_calls": False},
        ),
        (
            {"tools": [WEATHER, TIME], "tool_choice": {"type": "function", "name": "time"}},
            {"tools": [WEATHER_SENT, TIME_SENT], "tool_choice": {"type": "function", "function": {"name": "time"}}},
        ),
        (
            {
                "tools": [WEATHER, TIME],
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "required",
                    "tools": [{"type": "function", "name": "time"}],
                },
            },
            {"tools": [TIME_SENT], "tool_choice": "required"},
        ),
        ({"text": {"format": {"type": "text"}, "verbosity": "low"}}, {}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": {"type": "json_object"}}),
        (
            {
                "text": {
                    "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "d"}
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "description": "d", "strict": True},
                }
            },
        ),
        (
            {"reasoning": {"effort": "high", "summary": "auto"}},
            {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": True}},
        ),
        (
            {"reasoning": {"effort": "none"}},
            {"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": False}},
        ),
        ({"reasoning": {"summary": "auto"}}, {}),
        (
            {
                "instructions": None,
                "max_output_tokens": None,
                "metadata": None,
                "parallel_tool_calls": None,
                "reasoning": None,
                "previous_response_id": None,
                "store": None,
                "stream": None,
                "temperature": None,
                "text": None,
                "tool_choice": None,
                "tools": None,
                "top_p": None,
                "top_logprobs": None,
                "truncation": None,
                "user": None,
                "background": None,
                "include": None,
                "prompt": None,
                "conversation": None,
                "service_tier": None,
                "stream_options": None,
                "max_tool_calls": None,
                "safety_identifier": None,
                "prompt_cache_key": None,
            },
            {},
        ),
        ({"service_tier": "auto", "anything": {"else": 1}, "max_tool_calls": 3}, {}),
    ],
)
def test_fields(fields: Any, more: Any) -> None:
    assert sent(**fields) == {"model": "tiny-chat", "messages": [HI], "stream": False, **more}


def test_a_stream_asks_for_its_usage() -> None:
    found = sent(stream=True, streamed=True)
    assert (found["stream"], found["stream_options"]) == (True, {"include_usage": True, "continuous_usage_stats": True})


def test_what_a_model_cannot_do_it_is_not_asked_for() -> None:
    assert "reasoning_effort" not in sent(served=PLAIN, reasoning={"effort": "high"})
    unknown = record(status=known_status(capabilities=None))
    assert sent(served=unknown, reasoning={"effort": "high"})["reasoning_effort"] == "high"
    for served, given in (
        (PLAIN, [{"role": "user", "content": [{"type": "input_image", "image_url": PNG}]}]),
        (with_capabilities("embedding"), "hi"),
    ):
        with pytest.raises(Refusal, match="'tiny'"):
            sent(given, served)


def test_a_count_is_of_the_same_conversation() -> None:
    body = json.dumps(
        {"model": "tiny", "input": "hi", "instructions": "s", "tools": [WEATHER], "reasoning": {"effort": "none"}}
    )
    request = read(body.encode(), CountRequest)
    found = json.loads(count_plan(request, [text_message("hi", Ids(IDENT))], CAPABLE).payload)
    assert found == {
        "model": "tiny-chat",
        "messages": [{"role": "system", "content": "s"}, HI],
        "tools": [WEATHER_SENT],
        "chat_template_kwargs": {"enable_thinking": False},
    }


def test_the_object_has_every_key_and_repeats_what_was_asked() -> None:
    made = draft(
        wish(
            tools=[WEATHER, {"type": "web_search"}],
            tool_choice={"type": "allowed_tools", "mode": "auto", "tools": [TIME]},
            text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
        ),
        CAPABLE,
        IDENT,
        7.5,
    )
    assert {name for name, value in made.items() if value is None} == {
        "completed_at",
        "error",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "previous_response_id",
        "prompt_cache_key",
        "safety_identifier",
        "usage",
        "user",
    }
    assert (made["id"], made["created_at"], made["model"], made["store"]) == (IDENT, 7, "tiny", True)
    assert [tool["name"] for tool in made["tools"]] == ["weather"]
    assert made["tool_choice"] == {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "time"}],
    }
    assert (made["text"]["format"]["name"], made["text"]["verbosity"]) == ("n", "medium")
    assert made["reasoning"] == {"effort": None, "summary": None}
