"""The state and those who wait for it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, Passed, Stage
from dormouse_runtime.supervisor.timeline import MAX_ENTRIES, Timeline

ATTEMPT = Attempt(engine=Engine.VLLM, model_dir="/models/abc", quantization="int4")
PASSED = Passed(engine="vllm", reason=Reason.UNSUPPORTED, message="no", seconds=1)


@pytest.fixture
def timeline() -> Timeline:
    ticks = itertools.count(100.0)
    return Timeline("tiny", "abc", clock=lambda: next(ticks))


def test_stages_only_go_forward_within_an_attempt(timeline: Timeline) -> None:
    timeline.begin(ATTEMPT)
    for stage in (Stage.LOADING, Stage.IMPORTING, Stage.LOADING, Stage.WARMING):
        timeline.reach(stage)
    assert [(entry.stage, entry.at) for entry in timeline.state.timeline] == [
        (Stage.STARTING, 100.0),
        (Stage.LOADING, 101.0),
        (Stage.WARMING, 102.0),
    ]
    assert (timeline.state.engine, timeline.state.quantization) == ("vllm", "int4")


def test_the_next_attempt_starts_anew_and_keeps_what_was(timeline: Timeline) -> None:
    timeline.begin(ATTEMPT)
    timeline.reach(Stage.LOADING)
    timeline.pass_over(PASSED)
    timeline.begin(ATTEMPT.model_copy(update={"engine": Engine.TRANSFORMERS}))
    assert timeline.state.stage is Stage.STARTING
    assert timeline.state.engine == "transformers"
    assert timeline.state.passed == (PASSED,)
    assert len(timeline.state.timeline) == 3


def test_the_timeline_is_bounded(timeline: Timeline) -> None:
    for _ in range(2 * MAX_ENTRIES):
        timeline.begin(ATTEMPT)
        timeline.reach(Stage.LOADING)
    assert len(timeline.state.timeline) == MAX_ENTRIES


async def test_a_held_probe_is_released_by_readiness(timeline: Timeline) -> None:
    waiting = asyncio.create_task(timeline.wait_ready(30))
    await asyncio.sleep(0)
    assert not waiting.done()
    timeline.reach(Stage.READY)
    assert await asyncio.wait_for(waiting, 10)


async def test_a_held_probe_is_released_by_failure(timeline: Timeline) -> None:
    waiting = asyncio.create_task(timeline.wait_ready(30))
    await asyncio.sleep(0)
    timeline.fail(PASSED)
    assert not await asyncio.wait_for(waiting, 10)
    assert timeline.state.failure == PASSED


@pytest.mark.parametrize("what", ["drain", "wedge", "restart"])
async def test_after_the_first_readiness_a_probe_is_never_held(timeline: Timeline, what: str) -> None:
    timeline.reach(Stage.READY)
    accidents: dict[str, Callable[[], None]] = {
        "drain": timeline.drain,
        "wedge": lambda: timeline.health(False),
        "restart": lambda: timeline.begin(ATTEMPT),
    }
    accidents[what]()
    assert not await asyncio.wait_for(timeline.wait_ready(30), 10)


async def test_a_probe_is_held_no_longer_than_told(timeline: Timeline) -> None:
    assert not await asyncio.wait_for(timeline.wait_ready(0.05), 10)
