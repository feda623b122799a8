"""Every way a request can be wrong, and what its client is told."""

from typing import Any

import pytest

from dormouse_router.dialects.openai.responses.requests import CreateRequest, read
from dormouse_router.request import Refusal
from tests.router.dialects.openai.responses.bodies import HI, TIME, WEATHER, sent


def user(part: Any) -> list[Any]:
    return [{"role": "user", "content": [part]}]


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "invalid_type"),
        ({"model": ""}, "model", "invalid_value"),
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": []}, "input", "missing_required_parameter"),
        ({"input": 5}, "input", "invalid_type"),
        ({"input": [5]}, "input[0]", "invalid_type"),
        ({"input": [{}]}, "input[0].role", "missing_required_parameter"),
        ({"input": [{"role": "system", "content": []}]}, "input", "invalid_value"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "invalid_value"),
        ({"input": [{"role": "user"}]}, "input[0].content", "missing_required_parameter"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content", "invalid_type"),
        ({"input": [HI, {"type": "computer_call"}]}, "input[1].type", "invalid_value"),
        ({"input": user({"type": "input_text"})}, "input[0].content[0].text", "missing_required_parameter"),
        ({"input": user({"type": "input_file", "file_id": "f"})}, "input[0].content[0].type", "invalid_value"),
        ({"input": user({"type": "input_image", "file_id": "f"})}, "input[0].content[0]", "invalid_value"),
        (
            {"input": user({"type": "input_image", "image_url": "file:///etc"})},
            "input[0].content[0].image_url",
            "invalid_value",
        ),
        (
            {"input": [{"role": "assistant", "content": [{"type": "input_image"}]}]},
            "input[0].content[0].type",
            "invalid_value",
        ),
        (
            {"input": [{"type": "function_call", "call_id": "c", "name": "f"}]},
            "input[0].arguments",
            "missing_required_parameter",
        ),
        (
            {"input": [{"type": "function_call_output", "output": "x"}]},
            "input[0].call_id",
            "missing_required_parameter",
        ),
        (
            {"input": [{"type": "function_call_output", "call_id": "c"}]},
            "input[0].output",
            "missing_required_parameter",
        ),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"temperature": 2.1}, "temperature", "invalid_value"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"presence_penalty": 3}, "presence_penalty", "invalid_value"),
        ({"frequency_penalty": -3}, "frequency_penalty", "invalid_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "invalid_value"),
        ({"max_output_tokens": 1.5}, "max_output_tokens", "invalid_type"),
        ({"top_logprobs": 21}, "top_logprobs", "invalid_value"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "invalid_value"),
        ({"store": 1}, "store", "invalid_type"),
        ({"background": True, "store": False}, "background", "invalid_value"),
        ({"metadata": {"a": 1}}, "metadata[...]", "invalid_type"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "invalid_value"),
        ({"metadata": {"k" * 65: ""}}, "metadata", "invalid_value"),
        ({"metadata": {"k": "v" * 513}}, "metadata", "invalid_value"),
        ({"truncation": "some"}, "truncation", "invalid_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [WEATHER, {"type": "mcp", "server_label": "x"}]}, "tools[1].type", "invalid_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "missing_required_parameter"),
        ({"tools": [TIME | {"parameters": [1]}]}, "tools[0].parameters", "invalid_value"),
        ({"tool_choice": "always"}, "tool_choice", "invalid_value"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
        ({"tools": [TIME], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name", "invalid_value"),
        ({"tools": [TIME], "tool_choice": {"type": "mcp"}}, "tool_choice.type", "invalid_value"),
        (
            {"tools": [TIME], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [WEATHER]}},
            "tool_choice.tools",
            "invalid_value",
        ),
        (
            {"tools": [TIME], "tool_choice": {"type": "allowed_tools", "mode": "x", "tools": [TIME]}},
            "tool_choice.mode",
            "invalid_value",
        ),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "missing_required_parameter"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "invalid_value"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    ],
)
def test_a_bad_request_is_told_why(fields: Any, param: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        sent(**{"given": "hi", **{("given" if k == "input" else k): v for k, v in fields.items()}})
    assert (refused.value.status, refused.value.param, refused.value.code) == (400, param, code)
    assert param in refused.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"[" * 100_000])
def test_no_json(body: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        read(body, CreateRequest)
    assert refused.value.status == 400
