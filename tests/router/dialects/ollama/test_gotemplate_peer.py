"""The tables of templates before those who made the language: Go's own text/template, and Ollama's use of it."""

import itertools
import json
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from dev import ollama
from dormouse_router.dialects.ollama.prompting import Rendering, prompter
from tests.router.dialects.ollama.conversations import CONVERSATIONS, EACH, NAMED, TURNS, said
from tests.router.dialects.ollama.corpus import DATA, ERRORS, TEXTS
from tests.router.dialects.ollama.programs import need_go

pytestmark = pytest.mark.slow
TODAY = date(2026, 3, 1)
FLAGS = "{{ .Think }}{{ .ThinkLevel }}{{ .IsThinkSet }}{{ range .Messages }}{{ .Content }}{{ end }}"


@pytest.fixture(scope="module")
def peer() -> Path:
    need_go()
    return ollama.templates()


def asked(peer: Path, **wish: Any) -> list[dict[str, Any]]:
    done = subprocess.run([peer], input=json.dumps(wish), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_go_shows_the_same(peer: Path) -> None:
    answers = asked(peer, data=DATA, texts=[source for source, _ in TEXTS])
    others = [(row, answer) for row, answer in zip(TEXTS, answers, strict=True) if answer != {"text": row[1]}]
    assert others == []


def test_go_refuses_the_same(peer: Path) -> None:
    answers = asked(peer, data=DATA, texts=[source for source, *_ in ERRORS])
    assert [row[0] for row, answer in zip(ERRORS, answers, strict=True) if "error" not in answer] == []


def test_ollama_writes_the_same_prompts(peer: Path) -> None:
    """Whoever speaks, in any order: all conversations of up to five turns, and those of the table."""
    orders = [" ".join(order) for length in range(6) for order in itertools.product("suat", repeat=length)]
    pairs = [(template, turns) for template in (EACH, TURNS, NAMED, "{{ .Prompt }}") for turns in orders]
    pairs += [(template, turns) for template, turns, _ in CONVERSATIONS]
    wish = [{"template": template, "messages": said(turns)} for template, turns in pairs]
    answers = asked(peer, prompts=wish)
    ours = [{"text": Rendering(prompter(template), said(turns), TODAY).prompt()} for template, turns in pairs]
    rows = list(zip(pairs, answers, ours, strict=True))
    failed = [pair for pair, theirs, _ in rows if "error" in theirs]  # Ollama itself: it cuts no else, and no define
    assert all("else" in template or "define" in template for template, _ in failed)
    assert [(pair, theirs, own) for pair, theirs, own in rows if theirs != own and pair not in failed] == []


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ({"template": FLAGS, "messages": said("u1")}, {}),
        ({"template": FLAGS, "messages": said("u1"), "set": True}, {"think": False}),
        ({"template": FLAGS, "messages": said("u1"), "set": True, "think": True, "level": "low"}, {"level": "low"}),
        ({"template": "<{{ .Prompt }}|{{ .Suffix }}>", "prompt": "a", "suffix": "b"}, {"before": "a", "suffix": "b"}),
        ({"template": EACH + "{{ .Suffix }}", "prompt": "a", "suffix": "b"}, {"before": "a", "suffix": "b"}),
    ],
)
def test_ollama_tells_a_template_the_same(peer: Path, told: dict[str, Any], more: dict[str, Any]) -> None:
    [theirs] = asked(peer, prompts=[told])
    think = told.get("think", more.get("think"))
    ours = Rendering(prompter(told["template"]), told.get("messages", []), TODAY, **{**more, "think": think}).prompt()
    assert theirs == {"text": ours}
