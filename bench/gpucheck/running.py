"""Runs the check's steps, one process each, and says what came of them. Standard library only.

A step that fails, hangs or is killed costs its own time and nothing else; the others are run all the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MARK = "[gpucheck] "
"""Before the line of JSON that a step ends with."""
TAIL = 25
GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Step:
    """One thing to find out: `command` prints MARK and a JSON object of figures as its last word."""

    name: str
    command: Sequence[str]
    seconds: float
    """At most."""
    lacks: tuple[str, ...] = ()
    """Packages it needs and does not have: then it is not even tried."""


@dataclass(frozen=True)
class Outcome:
    """What came of a step."""

    name: str
    verdict: str
    """ok, failed, skipped (does not concern this machine) or not run (no time left)."""
    seconds: float = 0.0
    words: str = ""
    figures: dict[str, Any] = field(default_factory=dict)


def run(steps: Iterable[Step], seconds: float) -> list[Outcome]:
    """Every step in order, all together within `seconds`."""
    end, found = time.monotonic() + seconds, []
    for step in steps:
        left = end - time.monotonic()
        if step.lacks:
            outcome = Outcome(step.name, "failed", words=f"lacks {', '.join(step.lacks)}")
        elif left < 5:
            outcome = Outcome(step.name, "not run", words="no time was left: name it alone with --steps")
        else:
            outcome = _one(step, min(left, step.seconds))
        say(outcome)
        found.append(outcome)
    return found


def say(outcome: Outcome) -> None:
    words = f": {outcome.words}" if outcome.words else ""
    print(f"{outcome.name}: {outcome.verdict} in {outcome.seconds:.0f} s{words}", file=sys.stderr, flush=True)


def _one(step: Step, limit: float) -> Outcome:
    began = time.monotonic()
    process = subprocess.Popen(
        step.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    late = ""
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        late = f"not done within {limit:.0f} s"
        process.terminate()  # it stops its engine
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
        _end(process)
        output, _ = process.communicate()
    finally:
        _end(process)
        process.wait()
    spent = time.monotonic() - began
    figures = last_word(output)
    if not late and process.returncode == 0 and figures is not None:
        verdict = "skipped" if "skipped" in figures else "ok"
        return Outcome(step.name, verdict, spent, str(figures.pop("skipped", "")), figures)
    tail = "\n".join(output.splitlines()[-TAIL:])
    print(tail, file=sys.stderr, flush=True)
    return Outcome(step.name, "failed", spent, late or _why(output, process.returncode), figures or {})


def _end(process: subprocess.Popen[str]) -> None:
    """Nothing that it has started outlives it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _why(output: str, code: int) -> str:
    said = [line for line in output.splitlines() if line.strip() and not line.startswith(MARK)]
    return f"exit code {code}: {said[-1].strip()[:300] if said else 'it said nothing'}"


def last_word(output: str) -> dict[str, Any] | None:
    """The figures a step has told."""
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            try:
                found = json.loads(line.removeprefix(MARK))
            except ValueError:
                return None
            return found if isinstance(found, dict) else None
    return None


def table(outcomes: Sequence[Outcome]) -> str:
    """For people: a line for each step, and one for each of its figures."""
    lines = [f"{'step':18} {'verdict':8} {'seconds':>7}  figures"]
    for outcome in outcomes:
        figures = list(flat(outcome.figures))
        head = f"{outcome.name:18} {outcome.verdict:8} {outcome.seconds:7.0f}  "
        lines.append((head + (outcome.words or (figures.pop(0) if figures else ""))).rstrip())
        lines += [" " * 36 + text for text in figures]
    return "\n".join(lines)


def flat(figures: dict[str, Any], prefix: str = "") -> Iterable[str]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}: {f'{value:.3g}' if isinstance(value, float) and value < 100 else _plain(value)}"


def _plain(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) else str(value)


def report(outcomes: Sequence[Outcome], about: dict[str, Any]) -> str:
    """For machines."""
    return json.dumps({**about, "steps": [asdict(outcome) for outcome in outcomes]}, indent=1)


def status(outcomes: Sequence[Outcome]) -> int:
    """0 where everything that concerns this machine is ok, else 1."""
    return 0 if outcomes and all(outcome.verdict in ("ok", "skipped") for outcome in outcomes) else 1
