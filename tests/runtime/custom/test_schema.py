"""The input schema on its way into a status: whatever a pod says, it is plain JSON of a bounded length, or nothing."""

import json
from typing import Any

import pytest

from dormouse_api.runtime import MAX_INPUT_SCHEMA, RuntimeState
from dormouse_runtime.supervisor import schema


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('{"type": "object"}', '{"type":"object"}'),
        ('{"title": "\\u001b[31m"}', '{"title":"\\u001b[31m"}'),
        ('{"title": "\u202eevil\u2028"}', '{"title":"\\u202eevil\\u2028"}'),
        ("{", None),
        ("\x1b[31m", None),
        ("[" * 5000, None),
        (json.dumps("x" * MAX_INPUT_SCHEMA), None),
        (json.dumps("\u202e" * (MAX_INPUT_SCHEMA // 2), ensure_ascii=False), None),
        (5, None),
        (None, None),
    ],
)
def test_what_a_state_keeps_of_a_schema(said: Any, kept: str | None) -> None:
    state = RuntimeState.model_validate({"stage": "ready", "model": "m", "commit": "c", "input_schema": said})
    assert state.input_schema == kept
    assert kept is None or kept.isascii()


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b'{"input": {"type": "object"}, "output": null}', '{"type":"object"}'),
        (b'{"output": {}}', None),
        (b"[]", None),
        (b"<html>", None),
        (json.dumps({"input": "x" * MAX_INPUT_SCHEMA}).encode(), None),
    ],
)
def test_what_the_supervisor_takes_of_an_engines_answer(body: bytes, kept: str | None) -> None:
    assert schema.read(body) == kept
