"""Growing text: whole characters, stop strings, tool calls."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_runtime.engines.openai.text import Detokenizer, StopWatch, overlap
from dormouse_runtime.engines.openai.tools import ToolCall, ToolParser
from tests.runtime.openai.fakes import Characters

CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call>'


@given(st.text(), st.integers(1, 5))
def test_text_comes_out_as_it_went_in_and_never_half_a_character(text: str, size: int) -> None:
    tokenizer = Characters()
    tokens = [token for token in tokenizer.encode(text) if token]
    words = Detokenizer(tokenizer)
    pieces = [words.feed(tokens[at : at + size]) for at in range(0, len(tokens), size)]
    assert "".join(pieces) + words.close() == text.replace("\0", "")
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)


def test_a_character_that_never_ends_is_told_at_the_close() -> None:
    words = Detokenizer(Characters())
    assert words.feed(list(b"a\xe2\x82")) == ""
    assert words.close() == "a\N{REPLACEMENT CHARACTER}"


@given(st.text("abc"), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_stopping_is_the_same_in_pieces_as_in_one(text: str, stops: list[str], size: int) -> None:
    def run(parts: list[str]) -> tuple[str, bool]:
        watch = StopWatch(stops)
        said = ""
        for part in parts:
            said += watch.feed(part)
            if watch.stopped:
                return said, True
        return said + watch.close(), False

    said, stopped = run([text[at : at + size] for at in range(0, len(text), size)])
    assert stopped == any(stop in text for stop in stops)
    assert text.startswith(said)
    assert not any(stop in said for stop in stops)
    if not stopped:
        assert said == text


@pytest.mark.parametrize(
    ("text", "word", "length"), [("ab", "bc", 1), ("abc", "bc", 0), ("", "x", 0), ("aab", "aabb", 3)]
)
def test_overlap(text: str, word: str, length: int) -> None:
    assert overlap(text, word) == length


@given(st.integers(1, 20))
def test_tool_calls_are_found_in_pieces_of_any_size(size: int) -> None:
    parser, words = ToolParser(), ""
    calls: list[ToolCall] = []
    text = f"Let me see. {CALL}\n{CALL}"
    for at in range(0, len(text), size):
        said, found = parser.feed(text[at : at + size])
        words, calls = words + said, calls + found
    assert (words + parser.close()).strip() == "Let me see."
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [("get_weather", {"city": "Paris"})] * 2
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    "text",
    ["a < b", "<tool", "<tool_call>never closed", "<tool_call>not json</tool_call>", '<tool_call>{"x": 1}</tool_call>'],
)
def test_what_is_no_call_stays_text(text: str) -> None:
    parser = ToolParser()
    said, calls = parser.feed(text)
    assert said + parser.close() == text
    assert not calls
