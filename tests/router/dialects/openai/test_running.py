"""Streams are asked for their usage so far, and their clients see what they asked for: byte for byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dataplane.peek import Peek, chat
from dormouse_router.dialects.openai.edits import Edits
from dormouse_router.dialects.openai.running import asked, hidden
from tests.router.dialects.openai.streams import DONE, delta

RUNNING = {"include_usage": True, "continuous_usage_stats": True}
COMPACT, SPACED = (",", ":"), (", ", ": ")


def said(body: dict[str, Any], separators: tuple[str, str] = COMPACT, end: str = "\n\n") -> bytes:
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=separators).encode() + end.encode()


def used(completion: int, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": 7, "total_tokens": 7 + completion, "completion_tokens": completion} | more


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, RUNNING),
        ({"stream_options": None}, RUNNING),
        ({"stream_options": {}}, RUNNING),
        ({"stream_options": {"include_usage": False, "include_obfuscation": False}}, {"include_obfuscation": False}),
        ({"stream_options": {"include_usage": True}}, RUNNING),
    ],
)
@pytest.mark.parametrize("around", ["", " \r\n"])
def test_every_stream_is_asked(options: dict[str, Any], wanted: dict[str, Any], around: str) -> None:
    fields = {"model": "m", "messages": [{"role": "user", "content": 'a "}" b'}], "stream": True, "x": {"y": [1]}}
    body = (around + json.dumps(fields | options) + around).encode()
    assert json.loads(asked(body, chat(body))) == fields | {"stream_options": wanted | RUNNING}


words = st.text(max_size=12) | st.sampled_from(['","usage":{"', '"choices":[]', "}}\n\n", '"usage":null', "},"])
details = st.sampled_from([{}, {"prompt_tokens_details": {"cached_tokens": 4}}, {"prompt_tokens_details": None}])
after = st.sampled_from([{}, {"system_fingerprint": "x"}, {"extra": {"deep": {}}}])
written = st.tuples(st.sampled_from([COMPACT, SPACED]), st.sampled_from(["\n\n", "\r\n\r\n"]))


@given(st.lists(words, max_size=5), details, after, written, st.integers(1, 4), st.booleans())
def test_what_was_not_asked_for_leaves_no_trace(
    said_words: list[str], more: Any, last: Any, how: tuple[tuple[str, str], str], at_once: int, total: bool
) -> None:
    """However an engine writes it, and however many events come at once."""
    plain = [delta(content=word) for word in said_words]
    told = [said(event | {"usage": used(n, **more)} | last, *how) for n, event in enumerate(plain)]
    end = said({"id": "x", "choices": [], "usage": used(len(plain), **more)}, *how)
    events = [*told, end, DONE]
    found = b"".join(hidden(b"".join(events[at : at + at_once]), total=total) for at in range(0, len(events), at_once))
    assert found == b"".join([*(said(event | last, *how) for event in plain), end if total else b"", DONE])


def test_a_failure_is_told_whatever_was_asked() -> None:
    failed = b'data: {"error":{"message":"no","type":"x","code":500}}\n\n'
    spoke = said(delta(content="a"))
    edits = Edits(Peek("m", stream=True, hidden=True), reasoning=False)
    assert edits.any
    found = edits.events(said(delta(content="a") | {"usage": used(1)}) + failed)
    assert found.startswith(spoke + b'data: {"error"')


@pytest.mark.parametrize("event", [DONE, b": waiting\n\n", said(delta(content='"usage":{"prompt_tokens":1}'))])
def test_what_tells_no_usage_is_the_same_object(event: bytes) -> None:
    assert hidden(event, total=False) is event
