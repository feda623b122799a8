"""The soak itself: it runs, and what would be wrong is found wrong."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.routing.processes import python
from bench.soak import complaint
from bench.soaking import good, verdict
from bench.soaking.ledger import Ledger
from bench.soaking.script import Ask
from bench.soaking.verdict import Sample

pytestmark = pytest.mark.slow

IDLE: dict[str, Any] = dict.fromkeys(verdict.COUNTS, 0) | {"tasks": {"Watcher.run": 2}, "fds": 17}


def test_a_short_soak_finds_nothing_wrong(tmp_path: Path) -> None:
    report = tmp_path / "rows.json"
    argv = python("bench.soak", "--minutes", 0.05, "--clients", 12, "--every", 0.5, "--json", report)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(report.read_text())
    assert sum(count for name, count in rows["outcomes"].items() if name.endswith("whole")) > 5
    assert any(name.startswith(("rude", "rubbish")) for name in rows["outcomes"])
    assert all(rule["ok"] for rule in rows["verdict"])
    assert "unexplained" in done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    "left", [*({name: 1} for name in verdict.COUNTS), {"tasks": {"Watcher.run": 2, "Answer": 1}}, {"fds": 18}]
)
def test_whatever_is_left_fails(left: dict[str, Any]) -> None:
    assert all(rule.ok for rule in verdict.nothing_left(IDLE, IDLE))
    assert [rule.ok for rule in verdict.nothing_left(IDLE, IDLE | left)].count(False) == 1


@pytest.mark.parametrize(("growth", "ok"), [(0, True), (4_000, True), (20_000, False)])
def test_memory_is_judged_after_the_warm_up(growth: int, ok: bool) -> None:
    samples = [Sample(second, 60_000_000 + growth * max(0, second - 300), 1, 1, 1, 1, 1) for second in range(1200)]
    samples[100] = Sample(100, 90_000_000, 1, 1, 1, 1, 1)
    assert verdict.memory(samples).ok is ok


def test_memory_is_not_judged_on_a_short_run() -> None:
    assert "too short" in verdict.memory([Sample(10, 1, 1, 1, 1, 1, 1)]).seen


def test_an_error_needs_a_cause() -> None:
    ledger = Ledger()
    ledger.failed("status 502", "steady", 1, 0.0, "no engine")
    assert ledger.unexplained_count == 1
    ledger.fault(2, "die")
    ledger.failed("status 502", "steady", 2, 0.0, "no engine")
    ledger.begin_trouble("steady", "gone")
    ledger.failed("status 503", "steady", 3, 0.0, "no engine")
    ledger.end_trouble("steady", "gone")
    ledger.failed("status 503", "steady", 4, 0.0, "it was away meanwhile")
    assert ledger.unexplained_count == 1
    ledger.failed("status 503", "other", 5, 0.0, "another was away")
    ledger.failed("status 503", "steady", 6, 1e12, "it was away long before")
    assert ledger.unexplained_count == 3


def test_engines_that_all_lost_a_connection_are_a_cause() -> None:
    ledger = Ledger()
    ledger.engines = [1, 2]
    now = time.monotonic()
    ledger.lost("steady", 1)
    ledger.lost("other", 2)
    ledger.failed("status 429", "steady", 1, now, "too many wait")
    assert ledger.unexplained_count == 1
    ledger.lost("steady", 2)
    ledger.failed("status 429", "steady", 2, now + 2, "too many wait")
    assert ledger.unexplained_count == 1
    ledger.failed("status 429", "steady", 3, now + 4, "they were let in again long before")
    assert ledger.unexplained_count == 2


EVENTS = ["1.0 ", "1.1 "]


def _sse(words: list[str], end: str = "data: [DONE]\n\n") -> str:
    chunks = [{"choices": [{"index": 0, "delta": {"content": word}}]} for word in words]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end


def _lines(words: list[str], *, done: bool = True) -> str:
    lines: list[dict[str, Any]] = [{"message": {"content": word}, "done": False} for word in words]
    return "\n".join(json.dumps(line) for line in [*lines, *([{"done": True}] if done else [])])


@pytest.mark.parametrize(
    ("path", "status", "body", "outcome"),
    [
        ("/v1/chat/completions", 200, _sse(EVENTS), "openai stream: whole"),
        ("/v1/chat/completions", 200, _sse(EVENTS, ""), "not what was asked"),
        ("/v1/chat/completions", 200, _sse(EVENTS[:1]), "not what was asked"),
        ("/v1/chat/completions", 200, _sse([*EVENTS, "2.0 "]), "not what was asked"),
        ("/v1/chat/completions", 200, _sse(EVENTS) + "data: {", "not readable"),
        ("/v1/chat/completions", 200, _sse(EVENTS, 'data: {"error": {}}\n\n'), "openai stream: error in the stream"),
        ("/v1/chat/completions", 503, '{"error": {"message": "no"}}', "openai stream: status 503"),
        ("/v1/chat/completions", 503, "<html>", "not readable"),
        ("/api/chat", 200, _lines(EVENTS), "ollama stream: whole"),
        ("/api/chat", 200, _lines(EVENTS, done=False), "not what was asked"),
        ("/api/chat", 200, '{"error": "gone"}', "ollama stream: error in the stream"),
    ],
)
async def test_good_clients_know_their_answers(path: str, status: int, body: str, outcome: str) -> None:
    ledger = Ledger()
    ledger.fault(1, "die")
    transport = httpx.MockTransport(lambda _: httpx.Response(status, text=body))
    async with httpx.AsyncClient(base_url="http://router", transport=transport) as http:
        await good.judge(http, Ask("steady", path, words=2, number=1), ledger)
    assert dict(ledger.outcomes) == {outcome: 1}


def test_a_fault_in_the_routers_log_is_found() -> None:
    assert complaint("warning lease not written\n").ok
    assert not complaint("x\nerror request failed path=/v1\n").ok
