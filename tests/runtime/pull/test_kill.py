"""Ends that nobody asked the puller about: SIGKILL, SIGTERM; and what it says while it works."""

from __future__ import annotations

import hashlib
import http.client
import json
import signal
import time
import urllib.request
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.names import MARKER
from tests.runtime.pull.harness import LARGE, REPO, WEIGHTS, Puller, until
from tests.runtime.scripted.pod import free_port

pytestmark = pytest.mark.slow

SLOW = {"kind": "slow", "path": "_cdn", "rate": 4 << 20, "times": None}
HALF = len(LARGE[WEIGHTS]) // 2
STUCK = {"kind": "stall", "path": "_cdn", "after": HALF + 1, "seconds": 600}
PAUSE = {**STUCK, "seconds": 6}
PATIENT = {"DORMOUSE_STALL_SECONDS": "600"}
"""So that a pull waits at its half for as long as a test looks at it."""


def test_killed_at_half_the_next_run_goes_on_from_there(puller: Puller) -> None:
    commit = puller.hub.publish(REPO, LARGE)
    puller.hub.faults(STUCK)
    process = puller.start("fetch", **PATIENT)
    until(lambda: puller.part() > HALF, "half of the weights on the volume")
    assert puller.outcome().failure is not None  # what the operator reads if nothing better is ever written
    process.send_signal(signal.SIGKILL)
    ended = puller.finish(process)
    left = puller.part()
    assert (ended.code, ended.reason) == (-signal.SIGKILL, Reason.INTERRUPTED)
    assert MARKER not in puller.files(commit)

    puller.hub.faults()
    puller.hub.clear()
    second = puller.finish(puller.start("fetch"))
    assert second.code == 0
    (request,) = puller.weights_requests()
    assert request["range"] == f"bytes={left}-"
    assert request["sent"] == len(LARGE[WEIGHTS]) - left < HALF
    assert second.outcome.pull is not None
    assert second.outcome.pull.fetched_bytes == request["sent"]
    assert puller.files(commit)[WEIGHTS] == LARGE[WEIGHTS]
    assert puller.marker(commit).commit == commit


def test_terminated_it_leaves_at_once_and_keeps_its_parts(puller: Puller) -> None:
    commit = puller.hub.publish(REPO, LARGE)
    puller.hub.faults(STUCK)
    process = puller.start("fetch", **PATIENT)
    until(lambda: puller.part() > HALF, "half of the weights on the volume")
    process.terminate()
    assert process.wait(timeout=60) == 143
    ended = puller.finish(process)
    assert ended.reason == Reason.INTERRUPTED
    assert "goes on from there" in str(ended.outcome.failure)
    left = {path.name for path in puller.models.rglob("*")}
    assert not left & {MARKER, WEIGHTS}, "nothing that would count as whole"
    puller.hub.clear()
    assert puller.run("fetch").code == 0
    assert [e["range"] for e in puller.weights_requests()] == [f"bytes={HALF + 1}-"]
    assert puller.files(commit)[WEIGHTS] == LARGE[WEIGHTS]


def test_killed_with_a_whole_part_it_is_only_checked(puller: Puller) -> None:
    commit = puller.hub.publish(REPO, LARGE)
    assert puller.run("fetch").code == 0
    folder = puller.models / commit
    (folder / MARKER).unlink()
    sha = hashlib.sha256(LARGE[WEIGHTS]).hexdigest()
    (folder / WEIGHTS).rename(folder / f"{WEIGHTS}.{sha[:16]}.part")
    puller.hub.clear()
    ended = puller.run("fetch")
    assert ended.outcome.pull is not None
    assert (ended.code, ended.outcome.pull.fetched_bytes) == (0, 0)
    assert puller.weights_requests() == []


def test_progress_only_grows_and_ends_whole(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    puller.hub.faults(SLOW, {"kind": "corrupt", "path": "config.json", "after": 1})
    port = free_port()
    process = puller.start("fetch", DORMOUSE_PROGRESS_PORT=str(port))
    seen: list[tuple[float, dict[str, Any]]] = []

    def polled() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=5) as answer:
                seen.append((time.monotonic(), json.load(answer)))
        except (OSError, http.client.HTTPException):
            return process.poll() is not None
        return False

    until(polled, "the end of the pull")
    assert puller.finish(process).code == 0
    fetching = [(at, p) for at, p in seen if p["stage"] == "fetching"]
    total = sum(len(LARGE[name]) for name in ("config.json", "tokenizer.json", WEIGHTS))
    assert {p["total"] for _, p in fetching} == {total}
    counts = [p["bytes"] for _, p in seen]
    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    (began, first), (at, middle) = fetching[0], fetching[len(fetching) // 2]
    assert middle["file"] == WEIGHTS
    rate = (middle["bytes"] - first["bytes"]) / (at - began)
    assert rate / 2 < middle["bytes_per_second"] < 2 * rate
    assert middle["eta_seconds"] == pytest.approx((total - middle["bytes"]) / middle["bytes_per_second"], abs=0.1)


def test_the_marker_comes_last(puller: Puller) -> None:
    commit = puller.hub.publish(REPO, LARGE)
    puller.hub.faults(PAUSE)
    process = puller.start("fetch", **PATIENT)
    until(lambda: puller.part() > HALF, "half of the weights on the volume")
    assert MARKER not in puller.files(commit)
    assert puller.finish(process).code == 0
    folder = puller.models / commit
    marked = (folder / MARKER).stat().st_mtime_ns
    assert all(path.stat().st_mtime_ns <= marked for path in folder.iterdir())


def test_alive(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    puller.hub.faults(PAUSE)
    port = free_port()
    process = puller.start("fetch", **PATIENT, DORMOUSE_PROGRESS_PORT=str(port))

    def alive() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    until(alive, "/livez answers")
    assert puller.finish(process).code == 0


def test_an_inspection_leaves_at_once_too(puller: Puller) -> None:
    puller.hub.publish(REPO, LARGE)
    puller.hub.faults({"kind": "stall", "path": "config.json", "after": 0, "seconds": 600})
    process = puller.start("inspect", **PATIENT)
    until(lambda: any("config.json" in entry["path"] for entry in puller.hub.log()), "config.json asked for")
    process.terminate()
    assert process.wait(timeout=60) == 143
    assert puller.finish(process).reason == Reason.INTERRUPTED
