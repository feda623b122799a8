"""Whatever JSON a client sends: a plan that can be sent, or a refusal that says why. Never an accident."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_api.route import Defaults
from dormouse_router.catalog.record import Taken
from dormouse_router.dialects.native.requests import decode as decode_pull
from dormouse_router.dialects.native.requests import model_for
from dormouse_router.dialects.ollama import embeds, names
from dormouse_router.dialects.ollama.durations import keep_alive
from dormouse_router.dialects.ollama.requests import ChatRequest, EmbedRequest, GenerateRequest, decode
from dormouse_router.dialects.ollama.translate import chat_plan, generate_plan
from dormouse_router.request import Refusal
from tests.router.dialects.records import with_capabilities

T = TypeVar("T")
TODAY = date(2026, 1, 2)
RECORD = with_capabilities("completion", "tools", "vision", "insert", "thinking", "embedding")
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["5m", "-1", "json", "high", "user", "assistant", "tool", "aGk=", "data:image/png;base64,aGk="]),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def fields(*known: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(known, VALUES))


CALL = st.fixed_dictionaries({"function": fields("name", "arguments")}, optional={"id": VALUES})
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={
        "content": VALUES | st.lists(fields("type", "text", "image_url"), max_size=2),
        "images": st.lists(st.sampled_from(["aGk=", "", "é", "x"]), max_size=2),
        "thinking": VALUES,
        "tool_calls": st.lists(CALL, max_size=2),
        "tool_name": VALUES,
        "tool_call_id": VALUES,
    },
)
OPTIONS = fields("temperature", "top_k", "seed", "stop", "num_predict", "repeat_penalty", "use_mmap", "mirostat")
COMMON = {
    "options": OPTIONS | VALUES,
    **dict.fromkeys(("format", "think", "keep_alive", "logprobs", "top_logprobs", "stream", "truncate"), VALUES),
}
CHATS = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=3)}, optional={**COMMON, "tools": st.lists(VALUES, max_size=2)}
)
GENERATES = st.fixed_dictionaries(
    {"prompt": st.text(max_size=10)},
    optional={**COMMON, **dict.fromkeys(("suffix", "system", "template", "context", "raw", "images"), VALUES)},
)


def settled(action: Callable[[], T]) -> T | None:
    """What `action` gives, or None where it refuses: with 400, and a sentence."""
    try:
        return action()
    except Refusal as refusal:
        told = refusal
    assert told.status == 400
    assert told.message
    return None


@settings(max_examples=300)
@given(CHATS)
def test_any_chat(body: dict[str, Any]) -> None:
    request = json.dumps(body).encode()
    sent = settled(lambda: chat_plan(decode(request, ChatRequest), RECORD, "tiny", TODAY).payload)
    assert sent is None or json.loads(sent)["model"] == "tiny-chat"


@settings(max_examples=300)
@given(GENERATES)
def test_any_generate(body: dict[str, Any]) -> None:
    request = json.dumps(body).encode()
    sent = settled(lambda: generate_plan(decode(request, GenerateRequest), RECORD, "tiny", TODAY).payload)
    assert sent is None or json.loads(sent)["stream"] is True


TEMPLATES = st.sampled_from(
    [
        "{{ range .Messages }}{{ .Role }}{{ .Content }}{{ .Thinking }}{{ json .ToolCalls }}{{ .ToolName }}{{ end }}",
        "{{ .System }}{{ printf `%q` .Prompt }}{{ slice .Response 1 }}{{ .Suffix }}",
        "{{ range .Messages }}{{ range .ToolCalls }}{{ range $k, $v := .Function.Arguments }}{{ $v }}{{ end }}"
        "{{ .Function.Arguments }}{{ end }}{{ end }}",
    ]
)


@settings(max_examples=300)
@given(CHATS, GENERATES, TEMPLATES)
def test_any_conversation_by_a_template(chat: dict[str, Any], generate: dict[str, Any], template: str) -> None:
    record = replace(RECORD, taken=Taken(("default", "mario"), "tiny-chat", Defaults(template=template)))
    chat_ = json.dumps(chat).encode()
    sent = settled(lambda: chat_plan(decode(chat_, ChatRequest), record, "mario", TODAY).payload)
    assert sent is None or json.loads(sent).keys() >= {"prompt", "model", "max_tokens"}
    generate_ = json.dumps(generate).encode()
    sent = settled(lambda: generate_plan(decode(generate_, GenerateRequest), record, "mario", TODAY).payload)
    assert sent is None or "messages" not in json.loads(sent)


@given(fields("input", "prompt", "truncate", "dimensions", "keep_alive", "options"), st.booleans())
def test_any_embedding(body: dict[str, Any], legacy: bool) -> None:
    def sent() -> bytes:
        request = decode(json.dumps(body).encode(), EmbedRequest)
        keep_alive(request.keep_alive)
        return embeds.body(request, RECORD, embeds.inputs(request, legacy), legacy)

    found = settled(sent)
    assert found is None or json.loads(found)["encoding_format"] == "float"


@given(fields("model", "source", "revision", "quantization", "token_secret", "name"))
def test_any_pull(body: dict[str, Any]) -> None:
    found = settled(lambda: model_for(decode_pull(json.dumps(body).encode())))
    assert found is None or found.name


@given(st.text(max_size=60))
def test_any_name(text: str) -> None:
    name = names.parse(text)
    assert name is None or names.key(name.listed) == name.key


@given(st.binary(max_size=60))
def test_any_bytes(body: bytes) -> None:
    found = settled(lambda: decode(body, ChatRequest))
    assert found is None or isinstance(found, ChatRequest)


@pytest.mark.parametrize(
    "body",
    [
        {"keep_alive": 10**400},
        {"options": {"temperature": 10**400}},
        {"options": {"top_k": 10**30}},
        {"options": {"seed": 1e300}},
        {"options": {"num_predict": 10**400}},
    ],
)
def test_numbers_beyond_all_bounds(body: dict[str, Any]) -> None:
    request = json.dumps({"messages": [{"role": "user"}], **body}).encode()
    assert settled(lambda: chat_plan(decode(request, ChatRequest), RECORD, "tiny", TODAY).payload) is None
