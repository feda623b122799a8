"""The texts a copy is calibrated by: what is read, and what is refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dormouse_api.calibration import Algorithm, CalibrationConfig
from dormouse_runtime.quantize import texts
from dormouse_runtime.quantize.layout import LayoutError


def asked(path: Path, samples: int = 64) -> CalibrationConfig:
    return CalibrationConfig(file=str(path), algorithm=Algorithm.GPTQ, samples=samples, max_tokens=64)


def write(folder: Path, *lines: Any) -> Path:
    path = folder / "texts.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_the_first_samples_are_read_and_empty_lines_are_none(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    path = write(tmp_path, "", chat, "", *[{"text": str(n)} for n in range(20)])
    found = texts.read(asked(path, samples=10))
    assert found == [chat, *[{"text": str(n)} for n in range(9)]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 9, is no JSON"),
        ('["text"]', 'line 9, has no "text" and no "messages"'),
        ('{"text": 3}', "has no"),
        ('{"messages": "hi"}', "has no"),
        ('{"text": "' + "x" * texts.LONGEST_LINE + '"}', "is longer than"),
    ],
)
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path, *[{"text": "a"}] * 8, line)
    with pytest.raises(LayoutError, match=words):
        texts.read(asked(path))


def test_too_few_texts_and_no_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="holds 3 texts: at least 8"):
        texts.read(asked(write(tmp_path, *[{"text": "a"}] * 3)))
    with pytest.raises(LayoutError, match="cannot be read"):
        texts.read(asked(tmp_path / "none"))
    (tmp_path / "raw").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(LayoutError, match="cannot be read"):
        texts.read(asked(tmp_path / "raw"))
