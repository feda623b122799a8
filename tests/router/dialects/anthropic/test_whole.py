"""An answer that is not streamed."""

import json
from typing import Any

import pytest

from dormouse_router.dialects.anthropic.answer import whole
from dormouse_router.dialects.anthropic.translate import Plan
from dormouse_router.dialects.translating import AnswerError
from tests.router.dialects.anthropic.streams import Event, completion, plan


def blocks_of(plan_: Plan | None = None, **message: Any) -> list[Event]:
    found: list[Event] = json.loads(whole(completion(**message), plan_ or plan(), "Tiny"))["content"]
    return found


def test_a_whole_message() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        {"id": "c2", "type": "function", "function": {"name": "time", "arguments": ""}},
    ]
    body = completion(finish="tool_calls", content="I look.", reasoning="hm", tool_calls=calls)
    message = json.loads(whole(body, plan(), "Tiny"))
    assert message.pop("id").startswith("msg_")
    thinking, text, weather, time = message.pop("content")
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "Tiny",
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 4},
    }
    assert thinking.pop("signature")
    assert thinking == {"type": "thinking", "thinking": "hm"}
    assert text == {"type": "text", "text": "I look."}
    assert (weather["name"], weather["input"], weather["type"]) == ("weather", {"city": "Paris"}, "tool_use")
    assert (time["name"], time["input"]) == ("time", {})
    assert weather["id"] != time["id"]


def test_whole_blocks() -> None:
    assert blocks_of(content="") == []
    assert blocks_of(content="\n") == [{"type": "text", "text": "\n"}]
    assert [block["type"] for block in blocks_of(content="\n", reasoning_content="hm")] == ["thinking"]
    assert blocks_of(plan(show_thinking=False), content="4", reasoning="hm") == [{"type": "text", "text": "4"}]
    assert blocks_of(plan(sign_only=True), content="4", reasoning="hm")[0]["thinking"] == ""
    thinking, text = blocks_of(plan(tagged=True), content="<think>hm</think>\n4")
    assert (thinking["thinking"], text["text"]) == ("hm", "4")


@pytest.mark.parametrize("arguments", ['{"city": "Pa', "[1]", "7"])
def test_half_a_call_is_text_that_nobody_runs(arguments: str) -> None:
    call = [{"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}]
    message = json.loads(whole(completion(finish="length", tool_calls=call), plan(), "Tiny"))
    assert message["content"] == [{"type": "text", "text": f"weather({arguments})"}]
    assert message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"choices": []}', "cannot be read"),
        (b"\xff", "cannot be read"),
        (completion(finish="abort"), "gave the answer up"),
    ],
)
def test_an_answer_that_is_none(body: bytes, words: str) -> None:
    with pytest.raises(AnswerError, match=words):
        whole(body, plan(), "Tiny")
