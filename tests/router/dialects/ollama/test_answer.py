"""The engine's stream as Ollama's lines: golden answers, and the same lines wherever the network cuts."""

import json
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.ollama import context
from dormouse_router.dialects.ollama.answer import Answer
from dormouse_router.dialects.ollama.translate import Plan
from dormouse_router.dialects.timed import Clock, Times
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.gateway import CHAT

NOW = "1970-01-01T00:00:00.000000Z"
USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}
TIMES = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}


def plan(*, stream: bool = True, chat: bool = True, **more: Any) -> Plan:
    return Plan(path=CHAT, body={}, stream=stream, keep_alive=None, chat=chat, **more)


def delta(finish: str | None = None, logprobs: Any = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish, "logprobs": logprobs}], "usage": None}


def text(piece: str, finish: str | None = None, logprobs: Any = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": piece, "finish_reason": finish, "logprobs": logprobs}]}


def tool(index: int, arguments: str = "", **first: Any) -> dict[str, Any]:
    function = {"arguments": arguments} | ({"name": first.pop("name")} if "name" in first else {})
    return {"index": index, "function": function, **first}


def sse(*events: Any, done: bool = True) -> bytes:
    data = [json.dumps(event, ensure_ascii=False) for event in events] + (["[DONE]"] if done else [])
    return "".join(f"data: {line}\n\n" for line in data).encode()


def answer(plan_: Plan) -> Answer:
    ticks = count(1)
    return Answer(
        plan_, "Tiny", Clock(lambda: 0.0, lambda: float(next(ticks))), Times(arrived=0.0, sent=0.5, held=0.25)
    )


def run(plan_: Plan, stream: bytes, cuts: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    found, edges = answer(plan_), [0, *sorted(cuts), len(stream)]
    out = b"".join(found.feed(stream[a:b]) for a, b in pairwise(edges))
    out += found.finish()
    assert out.isascii()
    return [json.loads(line) for line in out.splitlines()]


def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


PARIS = sse(delta(role="assistant", content=""), delta(content="Par"), delta(content="is."), delta("stop"), USAGE)


def test_a_streamed_chat() -> None:
    head = {"model": "Tiny", "created_at": NOW}
    assert run(plan(), PARIS) == [
        {**head, "message": {"role": "assistant", "content": "Par"}, "done": False},
        {**head, "message": {"role": "assistant", "content": "is."}, "done": False},
        {
            **head,
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "total_duration": 2_000_000_000,
            "load_duration": 250_000_000,
            "prompt_eval_count": 9,
            "prompt_eval_duration": 500_000_000,
            "eval_count": 4,
            "eval_duration": 1_000_000_000,
        },
    ]


def test_a_whole_chat() -> None:
    [whole] = run(plan(stream=False), PARIS)
    assert whole["message"] == {"role": "assistant", "content": "Paris."}
    assert (whole["done"], whole["done_reason"], whole["eval_count"]) == (True, "stop", 4)
    assert all(whole[name] > 0 for name in TIMES)


def test_a_streamed_generate_ends_with_a_context_that_carries_on() -> None:
    turns = ({"role": "user", "content": "capital?"},)
    *pieces, last = run(plan(chat=False, turns=turns), PARIS)
    assert [(line["response"], line["done"]) for line in pieces] == [("Par", False), ("is.", False)]
    assert (last["response"], last["done"]) == ("", True)
    assert context.decode(last["context"]) == [*turns, {"role": "assistant", "content": "Paris."}]


def test_a_raw_generate_has_no_context() -> None:
    [whole] = run(plan(chat=False, stream=False), sse(text("Par"), text("is.", "length"), USAGE))
    assert (whole["response"], whole["done_reason"]) == ("Paris.", "length")
    assert "context" not in whole


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_from_either_field(field: str) -> None:
    stream = sse(delta(**{field: "hm"}), delta(content="4"), delta("stop"), USAGE)
    first, second, _last = run(plan(), stream)
    assert first["message"] == {"role": "assistant", "content": "", "thinking": "hm"}
    assert second["message"] == {"role": "assistant", "content": "4"}
    [whole] = run(plan(stream=False, chat=False), stream)
    assert (whole["thinking"], whole["response"]) == ("hm", "4")
    assert len(run(plan(think=False), stream)) == 2


@pytest.mark.parametrize(("think", "thinking"), [(True, "hm"), (None, "hm"), (False, None)])
def test_thinking_between_tags(think: bool | None, thinking: str | None) -> None:
    pieces = ["<thi", "nk>h", "m</", "think>\n\n4", "2"]
    stream = sse(*(delta(content=piece) for piece in pieces), delta("stop"), USAGE)
    [whole] = run(plan(stream=False, think=think, tagged=True), stream)
    assert (whole["message"].get("thinking"), whole["message"]["content"]) == (thinking, "42")
    lines = run(plan(think=think, tagged=True), stream)
    assert "".join(line["message"].get("thinking", "") for line in lines) == (thinking or "")
    assert [line["message"]["content"] for line in lines if line["message"]["content"]] == ["4", "2"]


def test_what_a_model_had_begun_is_given_at_its_end() -> None:
    stream = sse(delta(content="<thi"), delta("length"), USAGE)
    [whole] = run(plan(stream=False, tagged=True), stream)
    assert (whole["message"]["content"], whole["done_reason"]) == ("<thi", "length")


TOOLS = sse(
    delta(tool_calls=[tool(0, id="chatcmpl-tool-1", type="function", name="weather")]),
    delta(tool_calls=[tool(0, '{"ci')]),
    delta(tool_calls=[tool(0, 'ty":"Paris"}'), tool(1, "", id="chatcmpl-tool-2", name="time")]),
    delta("tool_calls"),
    USAGE,
)


def test_tool_calls_are_sent_whole_with_an_object() -> None:
    first, second, last = run(plan(), TOOLS)
    [weather], [time] = first["message"]["tool_calls"], second["message"]["tool_calls"]
    assert weather["function"] == {"index": 0, "name": "weather", "arguments": {"city": "Paris"}}
    assert time["function"] == {"index": 1, "name": "time", "arguments": {}}
    assert {call["id"][:5] + "-" + str(len(call["id"])) for call in (weather, time)} == {"call_-13"}
    assert weather["id"] != time["id"]
    assert (first["message"]["content"], first["done"], last["done_reason"]) == ("", False, "stop")
    [whole] = run(plan(stream=False), TOOLS)
    assert whole["message"]["tool_calls"] == [weather, time]


def test_a_call_cut_off_by_the_length_is_given_as_text() -> None:
    stream = sse(delta(tool_calls=[tool(0, '{"city": "Pa', id="a", name="weather")]), delta("length"), USAGE)
    [whole] = run(plan(stream=False), stream)
    assert whole["message"] == {"role": "assistant", "content": 'weather({"city": "Pa)'}
    assert whole["done_reason"] == "length"


LOGPROBS = {
    "content": [
        {
            "token": "é",
            "logprob": -0.5,
            "bytes": [195, 169],
            "top_logprobs": [{"token": "é", "logprob": -0.5, "bytes": None}],
        }
    ]
}


def test_logprobs_of_a_chat() -> None:
    stream = sse(delta(content="é", logprobs=LOGPROBS), delta("stop"), USAGE)
    entry = {"token": "é", "logprob": -0.5, "bytes": [195, 169]}
    first, last = run(plan(), stream)
    assert first["logprobs"] == [entry]
    assert "logprobs" not in last
    [whole] = run(plan(stream=False, top_logprobs=1), stream)
    assert whole["logprobs"] == [{**entry, "top_logprobs": [entry]}]


def test_logprobs_of_a_completion() -> None:
    stream = sse(
        text("a", logprobs={"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "b": -2.0}]}),
        text("", "stop"),
        USAGE,
    )
    [whole] = run(plan(stream=False, chat=False, top_logprobs=5), stream)
    tops = [{"token": "a", "logprob": -1.0, "bytes": [97]}, {"token": "b", "logprob": -2.0, "bytes": [98]}]
    assert whole["logprobs"] == [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": tops}]


def test_the_likeliest_alternatives_come_first_and_no_more_than_asked_for() -> None:
    entries = [
        {"token": token, "logprob": number, "bytes": None} for token, number in (("c", -3), ("a", -1), ("b", -2))
    ]
    content = [{"token": "c", "logprob": -3, "bytes": None, "top_logprobs": entries}]
    stream = sse(delta(content="c", logprobs={"content": content}), delta("stop"), USAGE)
    [whole] = run(plan(stream=False, top_logprobs=2), stream)
    [entry] = whole["logprobs"]
    assert (entry["token"], [top["token"] for top in entry["top_logprobs"]]) == ("c", ["a", "b"])
    [whole] = run(plan(stream=False), stream)
    assert "top_logprobs" not in whole["logprobs"][0]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0}, {"prompt_tokens": 3, "completion_tokens": None}])
def test_what_the_engine_does_not_count_is_one(usage: dict[str, Any] | None) -> None:
    *_, last = run(plan(), sse(delta(content="Paris."), delta("stop"), {"choices": [], "usage": usage}))
    assert (last["prompt_eval_count"], last["eval_count"]) == (max(1, (usage or {}).get("prompt_tokens", 0)), 1)
    assert all(last[name] > 0 for name in TIMES)


def test_prompt_only_shows_nothing() -> None:
    [last] = run(plan(quiet=True), sse(delta(content="x"), delta("length"), USAGE))
    assert (last["message"]["content"], last["done"], last["done_reason"]) == ("", True, "length")


@pytest.mark.parametrize(
    ("stream", "words"),
    [
        (sse(delta(content="a"), {"error": {"message": "out of memory", "code": 500}}), "out of memory"),
        (sse(delta(content="a"), {"error": "plain"}), "plain"),
        (b"data: {nonsense\n\n", "cannot be read"),
        (b'data: {"choices": 7}\n\n', "cannot be read"),
        (sse(delta(content="a")), "before it was complete"),
        (sse(delta(content="a"), done=False), "before it was complete"),
        (b"", "before it was complete"),
    ],
)
def test_an_engine_that_fails_is_an_error_and_never_an_end(stream: bytes, words: str) -> None:
    found = answer(plan())
    with pytest.raises(AnswerError, match=words):  # noqa: PT012 - either may be the one that tells
        found.feed(stream)
        found.finish()


MIXED = (
    b": a comment\n\nevent: x\r\ndata: "
    + json.dumps(delta(content="süß 日本 🦥")).encode()
    + b"\r\n\r\n"
    + sse(delta(content="é", logprobs=LOGPROBS), done=False)
    + TOOLS
)


@given(st.lists(st.integers(0, len(MIXED)), max_size=12).map(tuple))
def test_the_lines_do_not_depend_on_where_the_network_cuts(cuts: tuple[int, ...]) -> None:
    for shape in (plan(), plan(stream=False), plan(chat=False, turns=())):
        assert without_times(run(shape, MIXED, cuts)) == without_times(run(shape, MIXED))


def test_what_came_before_a_failure_is_not_lost() -> None:
    found = answer(plan())
    out = found.feed(sse(delta(content="Par"), {"error": "gone"}, delta(content="is")))
    assert [json.loads(line)["message"]["content"] for line in out.splitlines()] == ["Par"]
    with pytest.raises(AnswerError, match="gone"):
        found.feed(b"x")
    with pytest.raises(AnswerError, match="gone"):
        found.finish()


def test_single_bytes_give_the_same_lines() -> None:
    whole = run(plan(), MIXED)
    assert "".join(line["message"]["content"] for line in whole) == "süß 日本 🦥é"
    assert without_times(run(plan(), MIXED, tuple(range(len(MIXED))))) == without_times(whole)


@given(st.text())
def test_every_text_survives(words: str) -> None:
    words = words.encode("utf-8", "ignore").decode()
    [whole] = run(plan(stream=False), sse(delta(content=words), delta("stop"), USAGE))
    assert whole["message"]["content"] == words
