"""The cap on a pull's bandwidth: the bucket by itself, and a real pull over several connections."""

from __future__ import annotations

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPException

import pytest

from dormouse_api.results import Progress
from dormouse_runtime.pull.bandwidth import BURST_SECONDS, Bucket
from tests.runtime.pull.harness import SMALL, Puller, safetensors
from tests.runtime.scripted.pod import free_port

RATE = 4_000_000
TRIES = 5
"""Another one where the machine was too busy."""
FILES = 4


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_who_draws_more_than_there_is_waits_until_it_has_come() -> None:
    clock = Clock()
    bucket = Bucket(100, clock)
    assert [bucket.take(50), bucket.take(50)] == [0.5, 1.0]
    clock.now += 0.5
    assert bucket.take(10) == pytest.approx(0.6)


def test_a_pause_saves_up_no_more_than_a_moment() -> None:
    clock = Clock()
    bucket = Bucket(100, clock)
    clock.now += 3600
    assert bucket.take(10 + round(100 * BURST_SECONDS)) == pytest.approx(0.1)


def test_without_a_rate_nobody_waits() -> None:
    assert Bucket(0, Clock()).take(1 << 40) == 0


@pytest.mark.parametrize("drawers", [1, 2, 4, 16])
def test_any_number_of_connections_together_draw_the_rate(drawers: int) -> None:
    """Each waits as it is told before it draws again; after simulated 100 s the sum is the rate's."""
    clock = Clock()
    bucket = Bucket(1_000_000, clock)
    due, drawn = dict.fromkeys(range(drawers), clock.now), 0
    while clock.now < 200.0:
        who = min(due, key=lambda drawer: due[drawer])
        clock.now = max(clock.now, due[who])
        due[who] = clock.now + bucket.take(64 << 10)
        drawn += 64 << 10
    assert drawn == pytest.approx(100 * 1_000_000, rel=0.02)


@dataclass(frozen=True)
class Told:
    """What was told between two moments (monotonic seconds): exactly when is not seen from here."""

    asked: float
    answered: float
    progress: Progress

    @property
    def bytes(self) -> int:
        return self.progress.bytes


@pytest.mark.slow
def test_a_pull_keeps_to_its_bandwidth_and_tells_when_it_will_be_done(puller: Puller) -> None:
    """Four files at once from the local hub, 16 MB at 4 MB/s: within 10 %, and so is the ETA on the way."""
    for number in range(TRIES):
        seen = [told for told in pulled(puller, f"{number}-") if 0 < told.bytes < told.progress.total]
        first, last = seen[0], seen[-1]
        drawn = last.bytes - first.bytes
        assert drawn / (last.answered - first.asked) < 1.1 * RATE
        if not (wrong := slow_or_late(seen)):
            return
    raise AssertionError(f"{TRIES} times: {wrong}")


def slow_or_late(seen: list[Told]) -> str:
    """What a machine that is too busy for 4 MB/s, and a pull that is wrong, have in common; empty: nothing."""
    first, last = seen[0], seen[-1]
    if (rate := (last.bytes - first.bytes) / (last.asked - first.answered)) < 0.9 * RATE:
        return f"only {rate:.0f} bytes a second"
    if first.bytes > last.progress.total / 4:
        return f"the first bytes are told late: {first.bytes}"
    guesses = [(told.progress.eta_seconds, last.answered - told.answered) for told in seen]
    guesses = [(guessed, really) for guessed, really in guesses if guessed and 1 < really < 2.5]
    if len(guesses) <= 5:
        return f"too few guesses: {guesses}"
    wrong = [pair for pair in guesses if pair[0] != pytest.approx(pair[1], rel=0.2, abs=0.3)]
    return f"guessed, and really: {wrong}" if wrong else ""


def pulled(puller: Puller, mark: str) -> list[Told]:
    """What is told while weights that are marked so, and are nobody's yet, are pulled."""
    weights = {f"model-{i}.safetensors": safetensors({f"{mark}{i}": ("BF16", [8])}, pad=RATE) for i in range(FILES)}
    puller.hub.publish("acme/tiny", {**SMALL, **weights})
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(
            lambda: puller.finish(
                puller.start("fetch", DORMOUSE_MAX_BYTES_PER_SECOND=str(RATE), DORMOUSE_PROGRESS_PORT=str(port))
            )
        )
        seen = []
        while not run.done():
            asked = time.monotonic()
            if found := progress(port):
                seen.append(Told(asked, time.monotonic(), found))
            time.sleep(0.05)
        ended = run.result()
    assert ended.outcome.pull is not None, ended
    return seen


def progress(port: int) -> Progress | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/progress", timeout=2) as answer:
            return Progress.model_validate_json(answer.read())
    except (OSError, HTTPException):
        return None
