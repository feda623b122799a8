"""The engine's stream as a response's: golden events, and the same events wherever the network cuts."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.openai.responses.answer import replay, whole
from dormouse_router.dialects.openai.responses.items import Ids
from dormouse_router.dialects.openai.responses.translate import Plan
from dormouse_router.dialects.translating import AnswerError
from tests.router.dialects.openai.responses.events import (
    BASE,
    CALL,
    CREATED,
    IDENT,
    LAST,
    TEXT,
    THOUGHT,
    USAGE,
    Event,
    begun,
    delta,
    kinds,
    output,
    parsed,
    plan,
    run,
    sse,
    tool,
)

HEX = "0" * 32
MESSAGE = f"msg_{HEX}01"
EMPTY = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def test_a_stream_to_the_letter() -> None:
    events = run(
        sse(delta(role="assistant", content=""), delta(content="Par"), delta(content='is".\n'), delta("stop"), LAST)
    )
    for number, event in enumerate(events):
        assert event.pop("sequence_number") == number
    place = {"item_id": MESSAGE, "output_index": 0, "content_index": 0}
    part = EMPTY | {"text": 'Paris".\n'}
    item = {"id": MESSAGE, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = item | {"status": "completed", "content": [part]}
    last = events.pop()
    assert last["response"].pop("completed_at") > 0
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 13,
    }
    ended = BASE | {"status": "completed", "output": [done], "usage": usage}
    assert last == {"type": "response.completed", "response": ended}
    told: Event = {"logprobs": []}
    assert events == [
        {"type": "response.created", "response": BASE},
        {"type": "response.in_progress", "response": BASE},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", **place, "part": EMPTY},
        {"type": "response.output_text.delta", **place, "delta": "Par", **told},
        {"type": "response.output_text.delta", **place, "delta": 'is".\n', **told},
        {"type": "response.output_text.done", **place, "text": 'Paris".\n', **told},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
    ]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_text_and_tools_are_items_of_their_own(field: str) -> None:
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
    assert kinds(events) == [*CREATED, *THOUGHT(2), *TEXT(1), *CALL(2), *CALL(2), "response.completed"]
    assert output(events) == [
        ("reasoning", "hm"),
        ("message", "\n\nI look."),
        ("weather", '{"city":"Paris"}'),
        ("time", '{"tz":1}'),
    ]
    items = events[-1]["response"]["output"]
    assert [item["id"].split("_")[0] for item in items] == ["rs", "msg", "fc", "fc"]
    assert [item.get("call_id") for item in items[2:]] == ["chatcmpl-tool-1", "chatcmpl-tool-2"]


@pytest.mark.parametrize(
    ("chunks", "said"),
    [
        ([delta(content="\n"), tool(0, "{}", name="f", id="a")], [("f", "{}")]),
        ([tool(0, None, name="f", id="a")], [("f", "{}")]),
        ([tool(0, "", id="a"), tool(0, '{"a"', name="f"), tool(0, ":1}")], [("f", '{"a":1}')]),
        ([delta(content=" \n")], [("message", " \n")]),
        ([], [("message", "")]),
        (
            [delta(content="a"), delta(reasoning="b"), delta(content="c")],
            [("message", "a"), ("reasoning", "b"), ("message", "c")],
        ),
    ],
)
def test_what_is_said(chunks: list[Event], said: Any) -> None:
    assert output(run(sse(*chunks, delta("stop"), LAST))) == said


def test_calls_have_ids_and_each_its_own() -> None:
    events = run(
        sse(tool(0, "{}", name="f", id="a"), tool(1, "{}", name="g", id="a"), tool(2, "{}", name="h"), delta("stop"))
    )
    ids = [item["call_id"] for item in events[-1]["response"]["output"]]
    assert ids[0] == "a"
    assert len(set(ids)) == 3
    assert all(ident.startswith("call_") for ident in ids[1:])


@pytest.mark.parametrize(
    ("finish", "kind", "why", "status"),
    [
        ("stop", "completed", None, "completed"),
        ("tool_calls", "completed", None, "completed"),
        ("length", "incomplete", "max_output_tokens", "incomplete"),
        ("content_filter", "incomplete", "content_filter", "incomplete"),
    ],
)
def test_why_it_ended(finish: str, kind: str, why: str | None, status: str) -> None:
    last = run(sse(delta(content="Par"), delta(finish), LAST))[-1]
    assert (last["type"], last["response"]["status"]) == (f"response.{kind}", kind)
    assert last["response"].get("incomplete_details") == (why and {"reason": why})
    assert last["response"]["output"][0]["status"] == status


def test_a_call_that_was_cut_short_says_so() -> None:
    [call] = run(sse(tool(0, '{"city": "Pa', name="f", id="a"), delta("length")))[-1]["response"]["output"]
    assert (call["arguments"], call["status"]) == ('{"city": "Pa', "incomplete")


@pytest.mark.parametrize(
    ("used", "counts"),
    [
        (USAGE, (9, 4, 13, 0, 0)),
        (None, (0, 0, 0, 0, 0)),
        ({"prompt_tokens": 9, "completion_tokens": None, "prompt_tokens_details": None}, (9, 0, 9, 0, 0)),
        (USAGE | {"prompt_tokens_details": {"cached_tokens": 8}}, (9, 4, 13, 8, 0)),
        (USAGE | {"completion_tokens_details": {"reasoning_tokens": 3}}, (9, 4, 13, 0, 3)),
    ],
)
def test_usage(used: Any, counts: tuple[int, ...]) -> None:
    tail = () if used is None else ({"choices": [], "usage": used},)
    told = run(sse(delta(content="x"), delta("stop"), *tail))[-1]["response"]["usage"]
    details = told["input_tokens_details"]["cached_tokens"], told["output_tokens_details"]["reasoning_tokens"]
    assert (told["input_tokens"], told["output_tokens"], told["total_tokens"], *details) == counts


def test_tags_around_reasoning() -> None:
    events = run(
        sse(*(delta(content=piece) for piece in ("<thi", "nk>h", "m</th", "ink>\n\nPar", "is.")), delta("stop")),
        plan_=plan(tagged=True),
    )
    assert output(events) == [("reasoning", "hm"), ("message", "Paris.")]


def test_log_probabilities_come_with_their_text() -> None:
    def told(token: str) -> Any:
        return {
            "content": [
                {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "x", "logprob": -2}]}
            ]
        }

    chunks = [delta(content=token, logprobs=told(token)) for token in ("\n", "é", "b")]
    events = run(sse(*chunks, delta("stop")), plan_=plan(logprobs=True))
    assert output(events) == [("message", "\néb")]
    deltas = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [[entry["token"] for entry in entries] for entries in deltas] == [["é"], ["b"]]
    last = events[-1]["response"]["output"][0]["content"][0]["logprobs"]
    assert last[1] == {
        "token": "é",
        "logprob": -0.5,
        "bytes": [195, 169],
        "top_logprobs": [{"token": "x", "logprob": -2, "bytes": [120]}],
    }
    assert [entry["token"] for entry in last] == ["\n", "é", "b"]


GOLDEN = sse(
    delta(role="assistant", content=""),
    delta(reasoning="süß"),
    delta(content="日本 "),
    delta(content="🦥"),
    tool(0, '{"stadt": "Zü', id="a", name="f"),
    tool(0, 'rich"}'),
    delta("stop"),
    LAST,
)


def _lasting(events: list[Event]) -> list[Event]:
    events[-1]["response"].pop("completed_at")
    return events


@given(st.lists(st.integers(0, len(GOLDEN)), max_size=8))
def test_the_same_wherever_it_is_cut(cuts: list[int]) -> None:
    assert _lasting(run(GOLDEN, tuple(cuts))) == _lasting(run(GOLDEN))


def test_the_same_byte_by_byte() -> None:
    assert _lasting(run(GOLDEN, tuple(range(1, len(GOLDEN))))) == _lasting(run(GOLDEN))


@pytest.mark.parametrize(
    ("stream", "words", "statuses"),
    [
        (sse(delta(content="Par"), done=False), "before it was complete", ["incomplete"]),
        (sse(delta(content="Par")), "before it was complete", ["incomplete"]),
        (sse(delta(content="Par"), delta("abort")), "gave the answer up", ["incomplete"]),
        (
            sse(delta(content="Par"), {"error": {"message": "out of blocks", "code": 500}}),
            "out of blocks",
            ["incomplete"],
        ),
        (b"data: {not json}\n\n", "cannot be read", []),
        (b'data: {"choices": 5}\n\n', "cannot be read", []),
        (b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n', "cannot be read", []),
        (sse(tool(0, "{}", name="f"), tool(1, "{}", name="g"), tool(0, "{}")), "mixed up", ["completed", "completed"]),
        (sse(tool(0, "{}"), delta("stop")), "without naming it", []),
    ],
)
def test_a_stream_that_breaks(stream: bytes, words: str, statuses: list[str]) -> None:
    found = begun()
    out = b""
    with pytest.raises(AnswerError, match=words):  # noqa: PT012 - which of them raises is the network's business
        out += found.feed(stream)
        out += found.feed(b"")
        out += found.close()
    ends, response = found.broke("gone")
    events = parsed(out + ends + found.last(response))
    assert kinds(events)[:2] == [*CREATED]
    assert kinds(events)[-2:] == ["error", "response.failed"]
    assert (events[-2]["code"], events[-2]["message"], events[-2]["param"]) == ("server_error", "gone", None)
    assert response["error"] == {"code": "server_error", "message": "gone"}
    assert kinds(events).count("response.output_item.added") == kinds(events).count("response.output_item.done")
    assert [item["status"] for item in response["output"]] == statuses


def _completion(**said: Any) -> bytes:
    finish, used = said.pop("finish", "stop"), said.pop("used", USAGE)
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **said}, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": used}).encode()


WHOLE = Plan({}, tagged=True)
CALLS = [{"id": i, "type": "function", "function": {"name": i, "arguments": "{}"}} for i in ("a", "b")]


@pytest.mark.parametrize(
    ("body", "said", "status"),
    [
        (_completion(content="Paris."), [("message", "Paris.")], "completed"),
        (_completion(content="Paris.", reasoning="hm"), [("reasoning", "hm"), ("message", "Paris.")], "completed"),
        (_completion(content="<think>hm</think>Paris."), [("reasoning", "hm"), ("message", "Paris.")], "completed"),
        (_completion(content="\n", tool_calls=CALLS), [("a", "{}"), ("b", "{}")], "completed"),
        (_completion(content="Par", finish="length"), [("message", "Par")], "incomplete"),
        (_completion(used=None), [("message", "")], "completed"),
    ],
)
def test_whole_answers(body: bytes, said: Any, status: str) -> None:
    response = whole(body, WHOLE, BASE, Ids(IDENT))
    found = [
        (i["name"], i["arguments"]) if "name" in i else (i["type"], i["content"][0]["text"]) for i in response["output"]
    ]
    assert (found, response["status"]) == (said, status)
    again = parsed(replay(response))  # told again, it is what it was
    assert output(again) == said
    assert again[-1]["response"] == response


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"choices": []}', b"[" * 5000, _completion(content="x", finish="abort")]
)
def test_whole_nonsense(body: bytes) -> None:
    with pytest.raises(AnswerError):
        whole(body, WHOLE, BASE, Ids(IDENT))
