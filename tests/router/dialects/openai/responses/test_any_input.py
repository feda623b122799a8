"""Whatever JSON a client sends: a plan that can be sent, or a refusal that says why. Never an accident."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_router.dialects.openai.responses.items import Ids, is_reference, kept_form, text_message
from dormouse_router.dialects.openai.responses.objects import draft
from dormouse_router.dialects.openai.responses.requests import CountRequest, CreateRequest, read
from dormouse_router.dialects.openai.responses.translate import count_plan, response_plan
from tests.router.dialects.ollama.test_any_input import VALUES, fields, settled
from tests.router.dialects.openai.responses.bodies import CAPABLE
from tests.router.dialects.openai.responses.events import IDENT

KINDS = ["message", "function_call", "function_call_output", "reasoning", "item_reference", "web_search_call"]
PARTS = ["input_text", "output_text", "refusal", "input_image", "input_file", "summary_text", "reasoning_text"]
WORDS = st.text(max_size=8)
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(PARTS)},
    optional={
        **dict.fromkeys(("text", "refusal", "detail", "file_id"), WORDS),
        "image_url": st.sampled_from(["https://x/y", "data:image/png;base64,aGk=", "file:///x"]) | VALUES,
    },
)
SAID = WORDS | st.lists(PART, max_size=3) | VALUES
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(KINDS) | VALUES,
        "role": st.sampled_from(["user", "assistant", "system", "developer", "tool"]),
        **dict.fromkeys(("id", "call_id", "name", "arguments", "status", "encrypted_content"), WORDS),
        "content": SAID,
        "output": SAID,
        "summary": st.lists(PART, max_size=2),
    },
)
TOOL = st.fixed_dictionaries(
    {"type": st.sampled_from(["function", "web_search", "mcp"])},
    optional={"name": WORDS, "parameters": VALUES, "strict": VALUES, "description": VALUES},
)
BODIES = st.fixed_dictionaries(
    {"model": st.just("tiny"), "input": WORDS | st.lists(ITEM, max_size=4) | VALUES},
    optional={
        "tools": st.lists(TOOL, max_size=2) | VALUES,
        "tool_choice": st.sampled_from(["auto", "none", "required"]) | fields("type", "name", "mode", "tools") | VALUES,
        "reasoning": fields("effort", "summary") | VALUES,
        "text": fields("format", "verbosity") | VALUES,
        "metadata": st.dictionaries(WORDS, WORDS, max_size=3) | VALUES,
        **dict.fromkeys(
            ("instructions", "temperature", "top_p", "max_output_tokens", "top_logprobs", "include"), VALUES
        ),
        **dict.fromkeys(
            ("stream", "store", "background", "stream_options", "truncation", "conversation", "user"), VALUES
        ),
    },
)


def _create(raw: bytes) -> bytes:
    wish, ids = read(raw, CreateRequest), Ids(IDENT)
    given = wish.input or []
    items = [text_message(given, ids)] if isinstance(given, str) else []
    if not isinstance(given, str):
        items = [kept_form(item, f"input[{n}]", ids) for n, item in enumerate(given) if not is_reference(item)]
    assert json.dumps(items)
    assert draft(wish, CAPABLE, IDENT, 1.0)["id"] == IDENT
    return response_plan(wish, items, CAPABLE, stream=bool(wish.stream)).payload


@settings(max_examples=400)
@given(BODIES)
def test_any_request(body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    sent = settled(lambda: _create(raw))
    assert sent is None or json.loads(sent)["messages"]
    ids = Ids(IDENT)
    counted = settled(lambda: count_plan(read(raw, CountRequest), [text_message("x", ids)], CAPABLE).payload)
    assert counted is None or json.loads(counted)["messages"]


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_request(raw: bytes) -> None:
    assert settled(lambda: read(raw, CreateRequest)) is None
