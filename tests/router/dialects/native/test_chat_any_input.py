"""Whatever JSON a client sends to /chat, and whatever a session holds: a plan that can be sent, or a refusal."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dormouse_router.dialects.native.chat_answer import Answer
from dormouse_router.dialects.native.chat_plan import Plan, chat_plan, shorter, with_history
from dormouse_router.dialects.native.chat_requests import decode
from dormouse_router.dialects.timed import Clock, Times
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.keeping import Message
from tests.router.dialects.ollama.test_any_input import MESSAGE, RECORD, VALUES, settled

NAMES = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "timeout", "max_history", "seed", "stop")
MORE = ("stream", "tool_choice", "response_format", "think", "keep_alive", "session_id", "system", "min_p")
SAID = st.one_of(
    st.fixed_dictionaries({"messages": st.lists(MESSAGE, max_size=3)}),
    st.fixed_dictionaries({"prompt": st.text(max_size=9) | VALUES}),
    st.fixed_dictionaries({}, optional={"message": VALUES, "prompt": VALUES}),
)
BODIES = st.tuples(
    SAID,
    st.fixed_dictionaries({}, optional=dict.fromkeys((*NAMES, *MORE), VALUES) | {"tools": st.lists(VALUES)}),
).map(lambda both: {"model": "tiny", **both[0], **both[1]})
KEPT = st.lists(
    st.one_of(
        st.fixed_dictionaries(
            {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.text(max_size=5)}
        ),
        st.just({"role": "tool", "tool_call_id": "a", "content": "1"}),
        st.just(
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            }
        ),
    ),
    max_size=8,
)


@settings(max_examples=400)
@given(BODIES, KEPT)
def test_any_request_in_any_session(body: dict[str, Any], history: list[Message]) -> None:
    raw = json.dumps(body).encode()
    plan = settled(lambda: chat_plan(decode(raw), RECORD, "tiny"))
    if plan is None:
        return
    sent = settled(lambda: with_history(plan, history).payload)
    if sent is not None:
        assert json.loads(sent)["model"] == "tiny-chat"
        assert json.loads(sent)["messages"]
        assert plan.said


@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_what_is_no_request(raw: bytes) -> None:
    assert settled(lambda: decode(raw)) is None


@given(KEPT, st.integers(1, 10))
def test_what_a_model_is_shown_begins_with_a_question(history: list[Message], most: int) -> None:
    plan = chat_plan(decode(json.dumps({"model": "t", "prompt": "x", "max_history": most}).encode()), RECORD, "t")
    shown: Plan | None = with_history(plan, history)
    while shown is not None:
        said = [message for message in shown.history if message["role"] != "system"]
        assert len(said) <= most
        assert not said or said[0]["role"] == "user"
        assert [m for m in shown.history if m["role"] == "system"] == [m for m in history if m["role"] == "system"]
        less = shorter(shown)
        assert less is None or len(less.history) < len(shown.history)
        shown = less


WORD = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=200)
@given(st.lists(WORD, max_size=6), st.data())
def test_the_same_text_wherever_the_network_cuts(words: list[str], data: st.DataObject) -> None:
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"content": word}}]} for word in words]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    raw = b"".join(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in chunks)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    answer = Answer("t", Clock(lambda: 0, lambda: 0), Times(0, 0), stream=True, tagged=False)
    out = b"".join(answer.feed(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True))
    answer.complete()
    events = [json.loads(event[6:]) for event in (out + answer.finish({})).split(b"\n\n") if event]
    assert "".join(event["delta"]["content"] for event in events) == "".join(words)
    assert [event["done"] for event in events] == [False] * (len(events) - 1) + [True]
    assert answer.kept() == {"role": "assistant", "content": "".join(words)}


@given(st.lists(st.sampled_from(["<think>", "</think>", "hm", " ", "\n", "<", "th", "Yes"]), max_size=8))
def test_tagged_reasoning_is_told_apart_streamed_and_whole(words: list[str]) -> None:
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": {"content": word}}]} for word in words]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    raw = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
    clock = Clock(lambda: 0, lambda: 0)
    stream, whole = (Answer("t", clock, Times(0, 0), stream=way, tagged=True) for way in (True, False))
    deltas = [json.loads(event[6:])["delta"] for event in stream.feed(raw).split(b"\n\n") if event]
    assert whole.feed(raw) == b""
    message = json.loads(whole.finish({}))["message"]
    assert "".join(delta["content"] for delta in deltas) == message["content"]
    assert "".join(delta.get("thinking", "") for delta in deltas) == message.get("thinking", "")
    assert stream.kept() == whole.kept() == {"role": "assistant", "content": message["content"]}


@given(st.binary(max_size=80))
def test_any_bytes_of_an_engine_are_an_answer_or_an_error(raw: bytes) -> None:
    answer = Answer("t", Clock(lambda: 0, lambda: 0), Times(0, 0), stream=True, tagged=False)

    def heard() -> None:
        answer.feed(b"data: " + raw + b"\n\n")
        answer.complete()

    with pytest.raises(AnswerError, match="engine"):
        heard()
