"""What is done about an engine's refusal."""

from typing import Any

import pytest

from dormouse_router.dialects.complaints import words_of
from dormouse_router.dialects.ollama.refit import refusal, shorter
from dormouse_router.dialects.ollama.translate import Plan
from dormouse_router.gateway import CHAT, COMPLETIONS

TOO_LONG = "This model's maximum context length is 512 tokens. However, your prompt contains 600 input tokens"
TOO_MANY = "max_tokens=900 cannot be greater than max_model_len=512. Please request fewer output tokens."


def plan(*turns: str, path: str = CHAT, truncate: bool = True, **body: Any) -> Plan:
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    messages = {"messages": [{"role": roles[turn[0]], "content": turn} for turn in turns]} if turns else {}
    return Plan(path=path, body={**messages, **body}, stream=True, keep_alive=None, chat=True, truncate=truncate)


def left(found: Plan | None) -> list[str] | None:
    return None if found is None else [message["content"] for message in found.body["messages"]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("s", "u1", "a1", "u2", "a2", "u3"), ["s", "u2", "a2", "u3"]),
        (("s", "u2", "a2", "u3"), ["s", "u3"]),
        (("u1", "a1", "u2", "a2", "u3", "a3", "u4"), ["u3", "a3", "u4"]),
        (("u1", "u2"), ["u2"]),
        (("u1", "u2", "a2", "t2"), ["u2", "a2", "t2"]),
    ],
)
def test_a_conversation_loses_its_older_half_and_begins_with_a_user(
    before: tuple[str, ...], after: list[str] | None
) -> None:
    assert left(shorter(plan(*before), 400, TOO_LONG)) == after


@pytest.mark.parametrize(
    ("words", "room"),
    [
        (TOO_MANY, 512),
        (
            "This model's maximum context length is 512 tokens. However, you requested 920 tokens (20 in the prompt,",
            492,
        ),
        (
            "This model's maximum context length is 512 tokens. However, you requested 920 tokens (20 in the messages",
            492,
        ),
    ],
)
def test_a_wish_for_too_many_tokens_becomes_what_there_is_room_for(words: str, room: int) -> None:
    for given in (plan("u1", "a1", "u2", max_tokens=900), plan(path=COMPLETIONS, prompt="x", max_tokens=900)):
        found = shorter(given, 400, words)
        assert found is not None
        assert found.body == {**given.body, "max_tokens": room}


@pytest.mark.parametrize(("wish", "kept"), [({}, 384), ({"max_tokens": 10}, 502), ({"max_tokens": 500}, 256)])
def test_one_turn_that_is_too_long_loses_its_beginning(wish: dict[str, Any], kept: int) -> None:
    for given in (
        plan("s", "u1", **wish),
        plan("u1", "a1", "t1", **wish),
        plan(path=COMPLETIONS, prompt="x", **wish),
    ):
        found = shorter(given, 400, TOO_LONG)
        assert found is not None
        assert found.body == {**given.body, "truncate_prompt_tokens": kept, "truncation_side": "left"}


def test_a_limit_that_is_not_the_trouble_stays() -> None:
    found = shorter(plan("u1", "u2", max_tokens=5), 400, TOO_LONG)
    assert left(found) == ["u2"]
    assert found is not None
    assert found.body["max_tokens"] == 5


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        (plan("u1", "u2"), 500, TOO_LONG),
        (plan("u1", "u2"), 400, "temperature must be positive"),
        (plan("u1", "u2", truncate=False), 400, TOO_LONG),
        (plan("u1", truncate_prompt_tokens=9), 400, TOO_LONG),
        (plan("u1"), 400, "the context length is exceeded"),
    ],
)
def test_the_engines_word_is_final(given: Plan, status: int, words: str) -> None:
    assert shorter(given, status, words) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"bad","type":"BadRequestError","code":400}}', "bad"),
        (b'{"object":"error","message":"flat","code":400}', "flat"),
        (b'{"error":"bare"}', "bare"),
        (b'{"detail":"framework"}', "framework"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"", "the engine failed without a word"),
        (b"\xff\xfe", "\ufffd\ufffd"),
    ],
)
def test_an_engines_words_in_every_form(body: bytes, words: str) -> None:
    assert words_of(body) == words


@pytest.mark.parametrize(("status", "told"), [(400, 400), (422, 422), (404, 500), (500, 500), (503, 500)])
def test_statuses(status: int, told: int) -> None:
    assert refusal(status, "x").status == told


def test_a_model_without_a_tool_parser_is_told_with_the_fix() -> None:
    words = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    assert "spec.engine.toolCallParser" in refusal(400, words).message


def test_what_may_not_be_cut_is_refused_in_ollamas_words() -> None:
    words = "This model's maximum context length is 8 tokens. However, your prompt contains 600 input tokens"
    told = refusal(400, words)
    assert (told.status, told.message) == (400, f"the input length exceeds the context length: {words}")
