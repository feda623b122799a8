"""What is applied is read as YAML: any text must come out of that as it went in."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.applied import encoded


@given(st.text())
def test_json_readers_find_what_was_written(text: str) -> None:
    assert json.loads(encoded({"a": [text], text: 1})) == {"a": [text], text: 1}


@pytest.mark.parametrize(
    "text",
    [
        "🦔 hedgehog",
        "a\u0085b\u2028c\u2029d\n\r\t",
        "\x00\x07\x1b\x7f\x9f",
        "\ufeff\ufffe\uffff",
        "\\ud83e\\udd94 written out",
        '"quoted" \\ {{ "x" }}: - # &a *a !!x',
    ],
)
def test_yaml_readers_find_it_too(text: str) -> None:
    sent = encoded({"spec": {"text": text}})
    assert yaml.safe_load(sent) == {"spec": {"text": text}}
    assert b"\\ud83e" not in sent or "written out" in text, "YAML has no pairs"


def test_half_a_character_is_none() -> None:
    assert json.loads(encoded({"a": "x\ud83ey"})) == {"a": "x\ufffdy"}
