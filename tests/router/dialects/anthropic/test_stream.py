"""The engine's stream as Anthropic's: golden events, and the same events wherever the network cuts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.anthropic.answer import Stream, whole
from dormouse_router.dialects.anthropic.translate import Plan
from dormouse_router.dialects.translating import AnswerError
from tests.router.dialects.anthropic.streams import (
    LAST,
    USAGE,
    Event,
    completion,
    delta,
    ending,
    parsed,
    plan,
    run,
    sse,
    told,
    tool,
)


def test_a_stream_to_the_letter() -> None:
    first = delta(role="assistant", content="", usage={"prompt_tokens": 9, "completion_tokens": 0})
    start, *events = run(sse(first, delta(content="Par"), delta(content='is".\n'), delta("stop"), LAST))
    ident = start["message"].pop("id")
    assert ident.startswith("msg_")
    assert start == {
        "type": "message_start",
        "message": {
            "type": "message",
            "role": "assistant",
            "model": "Tiny",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 9, "output_tokens": 0},
        },
    }
    assert events == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Par"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 'is".\n'}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 9, "output_tokens": 4},
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_text_and_tools_are_blocks_of_their_own(field: str) -> None:
    events = run(
        sse(
            delta(role="assistant", content=""),
            delta(**{field: "h"}),
            delta(**{field: "m"}),
            delta(content="\n\n"),
            delta(content="I look."),
            tool(0, id="chatcmpl-tool-1", type="function", name="weather"),
            tool(0, '{"ci'),
            tool(0, 'ty":"Paris"}'),
            tool(1, '{"tz":', id="chatcmpl-tool-2", name="time"),
            tool(1, "1}"),
            delta("tool_calls"),
            LAST,
        )
    )
    thinking, text, weather, time = told(events)
    assert thinking[:3] == ["thinking", "h", "m"]
    assert len(thinking) == 4  # the signature is the last of it
    assert thinking[3]
    assert text == ["text", "\n\nI look."]
    assert weather == ["tool_use", '{"ci', 'ty":"Paris"}']
    assert time == ["tool_use", '{"tz":', "1}"]
    started = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert started[0] == {"type": "thinking", "thinking": "", "signature": ""}
    ids = [block.pop("id") for block in started[2:]]
    assert started[2:] == [{"type": "tool_use", "name": name, "input": {}} for name in ("weather", "time")]
    assert len(set(ids)) == 2
    assert all(ident.startswith("toolu_") for ident in ids)
    signed = [event["delta"]["type"] for event in events if event.get("index") == 0 and "delta" in event]
    assert signed == ["thinking_delta", "thinking_delta", "signature_delta"]
    assert ending(events) == ("tool_use", None)


def test_tools_whose_parts_come_oddly() -> None:
    late_name = [tool(0, '{"a"', id="x"), tool(0, ":1}", name="f"), delta(tool_calls=[{"index": 0}])]
    assert told(run(sse(*late_name, delta("tool_calls"), LAST))) == [["tool_use", '{"a":1}']]
    assert told(run(sse(tool(0, None, id="x", name="f"), delta("tool_calls"), LAST))) == [["tool_use"]]
    spoilt = [tool(0, ' "', name="f"), tool(0, 'x"'), tool(1, "{}", name="g"), delta("tool_calls"), LAST]
    assert told(run(sse(*spoilt))) == [["text", 'f( "x")'], ["tool_use", "{}"]]
    assert ending(run(sse(tool(0, "7", name="f"), delta("stop"), LAST))) == ("end_turn", None)
    assert told(run(sse(tool(0, "7"), delta(content="a"), delta("stop"), LAST))) == [["text", "7"], ["text", "a"]]
    both = delta("tool_calls", tool_calls=[{"index": i, "function": {"name": "f", "arguments": "{}"}} for i in (0, 1)])
    assert told(run(sse(both, LAST))) == [["tool_use", "{}"], ["tool_use", "{}"]]


@pytest.mark.parametrize(
    ("plan_", "blocks"),
    [
        (plan(show_thinking=False), [["text", "4"]]),
        (plan(sign_only=True), [["thinking", "SIGNED"], ["text", "4"]]),
        (plan(), [["thinking", "hm", "SIGNED"], ["text", "4"]]),
    ],
)
def test_thinking_shown_signed_or_left_out(plan_: Plan, blocks: list[Any]) -> None:
    found = told(run(sse(delta(reasoning="hm"), delta(content="4"), delta("stop"), LAST), plan_=plan_))
    if "SIGNED" in blocks[0]:
        assert found[0].pop()
        blocks = [blocks[0][:-1], *blocks[1:]]
    assert found == blocks


def test_thinking_between_tags() -> None:
    pieces = ["<thi", "nk>h", "m</", "think>\n\n4", "2"]
    stream = sse(*(delta(content=piece) for piece in pieces), delta("stop"), LAST)
    thinking, text = told(run(stream, plan_=plan(tagged=True)))
    assert (thinking[:-1], text) == (["thinking", "h", "m"], ["text", "4", "2"])
    assert told(run(stream, plan_=plan(tagged=True, show_thinking=False))) == [["text", "4", "2"]]
    cut = sse(delta(content="<thi"), delta("length"), LAST)
    assert told(run(cut, plan_=plan(tagged=True))) == [["text", "<thi"]]


@pytest.mark.parametrize(
    ("finish", "stop", "expected"),
    [
        ("stop", None, ("end_turn", None)),
        ("stop", 7, ("end_turn", None)),
        ("stop", "END", ("stop_sequence", "END")),
        ("length", None, ("max_tokens", None)),
        ("content_filter", None, ("refusal", None)),
        ("tool_calls", None, ("end_turn", None)),
    ],
)
def test_why_it_ended(finish: str, stop: Any, expected: tuple[Any, Any]) -> None:
    assert ending(run(sse(delta(content="a"), delta(finish, stop), LAST))) == expected
    message = json.loads(whole(completion(finish=finish, stop=stop, content="a"), plan(), "Tiny"))
    assert (message["stop_reason"], message["stop_sequence"]) == expected


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_a_forced_call_is_a_tool_use_all_the_same(finish: str) -> None:
    assert ending(run(sse(tool(0, "{}", name="f"), delta(finish), LAST))) == ("tool_use", None)
    assert ending(run(sse(tool(0, "{", name="f"), delta("length"), LAST))) == ("max_tokens", None)


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        (USAGE, {"input_tokens": 9, "output_tokens": 4}),
        (None, {"input_tokens": 0, "output_tokens": 0}),
        ({"prompt_tokens": 9, "completion_tokens": None}, {"input_tokens": 9, "output_tokens": 0}),
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 6}},
            {"input_tokens": 3, "cache_read_input_tokens": 6, "output_tokens": 4},
        ),
        ({**USAGE, "prompt_tokens_details": None}, {"input_tokens": 9, "output_tokens": 4}),
    ],
)
def test_usage(used: Any, expected: Any) -> None:
    assert run(sse(delta(content="a"), delta("stop"), {"choices": [], "usage": used}))[-2]["usage"] == expected
    assert json.loads(whole(completion(used=used, content="a"), plan(), "Tiny"))["usage"] == expected


def test_white_space_alone_is_no_block_unless_there_is_nothing_else() -> None:
    blank = delta(content="\n")
    assert told(run(sse(blank, blank, tool(0, "{}", name="f"), delta("tool_calls"), LAST))) == [["tool_use", "{}"]]
    assert told(run(sse(blank, blank, delta("stop"), LAST))) == [["text", "\n\n"]]
    assert told(run(sse(delta("stop"), LAST))) == []


@pytest.mark.parametrize(
    ("stream", "words", "status"),
    [
        (sse(delta(content="a"), {"error": {"message": "out of memory", "code": 500}}), "out of memory", 500),
        (sse({"error": {"message": "bad", "code": 400}}), "bad", 400),
        (sse({"error": "plain"}), "plain", 502),
        (b"data: {nonsense\n\n", "cannot be read", 502),
        (b'data: {"choices": 7}\n\n', "cannot be read", 502),
        (b"data: " + b"[" * 100_000 + b"\n\n", "cannot be read", 502),
        (sse(delta(content="a")), "before it was complete", 502),
        (sse(delta(content="a"), done=False), "before it was complete", 502),
        (b"", "before it was complete", 502),
        (sse(delta(content="a"), delta("abort")), "gave the answer up", 502),
        (sse(tool(0, name="f"), tool(1, name="g"), tool(0, "{}")), "mixed up its tool calls", 502),
    ],
)
def test_an_engine_that_fails_is_an_error_and_never_an_end(stream: bytes, words: str, status: int) -> None:
    found = Stream(plan(), "Tiny")
    with pytest.raises(AnswerError, match=words) as failed:  # noqa: PT012 - either may be the one that tells
        found.feed(stream)
        found.finish()
    assert failed.value.status == status


def test_what_came_before_a_failure_is_not_lost() -> None:
    found = Stream(plan(), "Tiny")
    *_, piece = parsed(found.feed(sse(delta(content="Par"), {"error": "gone"}, delta(content="is"))))
    assert piece["delta"]["text"] == "Par"
    with pytest.raises(AnswerError, match="gone"):
        found.feed(b"x")
    with pytest.raises(AnswerError, match="gone"):
        found.finish()


def test_a_message_begun_while_the_model_woke_is_begun_once() -> None:
    found = Stream(plan(), "Tiny")
    [start] = parsed(found.begin())
    assert found.begin() == b""
    events = parsed(found.feed(sse(delta(content="a"), delta("stop"), LAST)) + found.finish())
    assert start["message"]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert [event["type"] for event in events][:1] == ["content_block_start"]
    assert events[-2]["usage"]["input_tokens"] == 9


# ---------------------------------------------------------------------------------------------------- cuts

MIXED = b": a comment\n\nevent: x\r\ndata: " + json.dumps(delta(content="süß 日本 🦥"), ensure_ascii=False).encode()
MIXED += b"\r\n\r\n" + sse(
    delta(reasoning="né"), tool(0, '{"a":"ß', name="f"), tool(0, '"}'), tool(1, name="g"), delta("tool_calls"), LAST
)


def anonymous(events: list[Event]) -> str:
    text = json.dumps(events[1:])
    for event in events:
        ident = event.get("content_block", {}).get("id")
        text = text.replace(ident, "ID") if ident else text
    signature = [event["delta"]["signature"] for event in events if event.get("delta", {}).get("signature")]
    return text.replace(signature[0], "SIGNATURE")


@given(st.lists(st.integers(0, len(MIXED)), max_size=12).map(tuple))
def test_the_events_do_not_depend_on_where_the_network_cuts(cuts: tuple[int, ...]) -> None:
    assert anonymous(run(MIXED, cuts)) == anonymous(run(MIXED))


def test_single_bytes_give_the_same_events() -> None:
    assert anonymous(run(MIXED, tuple(range(len(MIXED))))) == anonymous(run(MIXED))
    assert told(run(MIXED))[0] == ["text", "süß 日本 🦥"]


@given(st.text(min_size=1))
def test_every_text_survives(words: str) -> None:
    words = words.encode("utf-8", "ignore").decode() or "x"
    [block] = told(run(sse(delta(content=words), delta("stop"), LAST)))
    assert block == ["text", words]
