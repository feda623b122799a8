"""Whatever JSON a client sends: a plan that can be sent, or a refusal that says why. Never an accident."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_router.dialects.anthropic.requests import CountRequest, MessagesRequest, decode
from dormouse_router.dialects.anthropic.translate import count_plan, message_plan
from tests.router.dialects.anthropic.bodies import CAPABLE
from tests.router.dialects.ollama.test_any_input import VALUES, fields, settled

KINDS = ["text", "image", "document", "search_result", "tool_use", "tool_result", "thinking", "redacted_thinking"]
SOURCE = st.fixed_dictionaries(
    {"type": st.sampled_from(["base64", "url", "text", "content", "file"])},
    optional={
        "media_type": st.sampled_from(["image/png", "text/plain"]) | VALUES,
        "data": st.sampled_from(["aGk=", "", "é"]) | VALUES,
        "url": st.sampled_from(["https://x/y", "file:///x"]) | VALUES,
        "content": VALUES,
    },
)


def block(content: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"type": st.sampled_from(KINDS)},
        optional={
            **dict.fromkeys(("text", "id", "name", "tool_use_id", "thinking", "title"), st.text(max_size=8)),
            "source": SOURCE | VALUES,
            "input": VALUES,
            "is_error": st.booleans(),
            "content": content,
        },
    )


BLOCKS = st.lists(block(VALUES | st.lists(block(VALUES), max_size=2)), max_size=3)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=9) | BLOCKS}
)
TOOL = st.fixed_dictionaries({"name": st.text(max_size=5)}, optional={"input_schema": VALUES, "strict": VALUES})
OPTIONAL = {
    "system": st.text(max_size=9) | BLOCKS | VALUES,
    "tools": st.lists(TOOL, max_size=2) | VALUES,
    "tool_choice": fields("type", "name") | VALUES,
    "thinking": fields("type", "budget_tokens") | VALUES,
    "output_config": fields("effort", "format") | VALUES,
    **dict.fromkeys(("temperature", "top_p", "top_k", "stop_sequences", "metadata", "stream", "output_format"), VALUES),
}
BODIES = st.fixed_dictionaries(
    {"model": st.just("tiny"), "max_tokens": st.integers(1), "messages": st.lists(TURN, max_size=4)},
    optional=OPTIONAL,
)


@settings(max_examples=400)
@given(BODIES)
def test_any_request(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    sent = settled(lambda: message_plan(decode(raw, MessagesRequest), CAPABLE).payload)
    assert sent is None or json.loads(sent)["model"] == "tiny-chat"
    counted = settled(lambda: count_plan(decode(raw, CountRequest), CAPABLE).payload)
    assert counted is None or json.loads(counted)["messages"] is not None


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_request(raw: bytes) -> None:
    assert settled(lambda: decode(raw, MessagesRequest)) is None


@given(st.binary(max_size=30))
def test_bytes_inside_what_is_passed_on_unread(inside: bytes) -> None:
    """Tool inputs and schemas are not decoded here: only their beginning is looked at."""
    raw = b'{"model":"tiny","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a",'
    raw += b'"name":"b","input":{"x":"' + inside + b'"}}]}]}'
    sent = settled(lambda: message_plan(decode(raw, MessagesRequest), CAPABLE).payload)
    if sent is not None:
        (call,) = json.loads(sent)["messages"][0]["tool_calls"]
        assert b'"' in inside or call["function"]["arguments"].encode() == b'{"x":"' + inside + b'"}'
