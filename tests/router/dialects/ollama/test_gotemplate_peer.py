"""The table of test_gotemplate.py before Go's own text/template: what it says there is what Go does."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.router.dialects.ollama.corpus import DATA, ERRORS, TEXTS

pytestmark = pytest.mark.slow
PEER = Path(__file__).parent / "gopeer" / "main.go"


def go(templates: list[str]) -> list[dict[str, Any]]:
    if shutil.which("go") is None:
        pytest.skip("Go judges Go's templates: install go")
    asked = json.dumps({"data": DATA, "templates": templates})
    command = ["go", "run", str(PEER)]
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_go_shows_the_same() -> None:
    answers = go([source for source, _ in TEXTS])
    other = [
        (source, answer) for (source, text), answer in zip(TEXTS, answers, strict=True) if answer != {"text": text}
    ]
    assert other == []


def test_go_refuses_the_same() -> None:
    answers = go([source for source, *_ in ERRORS])
    taken = [source for (source, *_), answer in zip(ERRORS, answers, strict=True) if "error" not in answer]
    assert taken == []
