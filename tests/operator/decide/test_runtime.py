"""How the runtime pods are judged, and how a start is recorded."""

import json
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.runtime import Passed, RuntimeState, Stage, StageAt
from dormouse_api.status import ColdStart
from dormouse_operator.decide import coldstart
from dormouse_operator.decide.runtime import view
from dormouse_operator.observed import Pod
from tests.operator.builders import COMMIT, NOW, ended, observed, pod, state


def last_words(reason: Reason = Reason.ENGINE_FAILED) -> str:
    passed = Passed(engine="vllm", reason=reason, message="it broke", seconds=3)
    return RuntimeState(
        stage=Stage.FAILED, model="m", commit=COMMIT, passed=(passed,), failure=passed
    ).model_dump_json()


@pytest.mark.parametrize(
    ("pods", "alive", "ready", "reason"),
    [
        pytest.param([], 0, 0, None, id="none"),
        pytest.param([pod()], 1, 0, None, id="starting"),
        pytest.param([pod(ready_at=NOW)], 1, 1, None, id="ready"),
        pytest.param([pod(deleting=True, ready_at=NOW)], 0, 0, None, id="going away"),
        pytest.param([pod(phase="Failed")], 0, 0, None, id="evicted"),
        pytest.param([pod(last_exit=ended(1, last_words()))], 1, 0, Reason.ENGINE_FAILED, id="every engine failed"),
        pytest.param(
            [pod(exit=ended(1, last_words(Reason.OUT_OF_MEMORY)))], 1, 0, Reason.OUT_OF_MEMORY, id="too small"
        ),
        pytest.param([pod(last_exit=ended(137, "", "OOMKilled"), restarts=1)], 1, 0, Reason.OUT_OF_MEMORY, id="killed"),
        pytest.param([pod(last_exit=ended(1, "Traceback"), restarts=1)], 1, 0, None, id="one crash may pass"),
        pytest.param([pod(last_exit=ended(1, "boom"), restarts=2)], 1, 0, Reason.ENGINE_FAILED, id="crashes again"),
        pytest.param([pod(last_exit=ended(1, last_words()), ready_at=NOW)], 1, 1, None, id="recovered"),
        pytest.param([pod(waiting="ErrImagePull", started_at=None)], 1, 0, Reason.IMAGE_PULL_FAILED, id="no image"),
        pytest.param([pod(waiting="CreateContainerConfigError")], 1, 0, Reason.INVALID_SPEC, id="bad config"),
        pytest.param(
            [pod(unschedulable="no GPU", unschedulable_since=NOW - 30)], 1, 0, Reason.UNSCHEDULABLE, id="full"
        ),
        pytest.param([pod(unschedulable="no GPU", unschedulable_since=NOW)], 1, 0, None, id="full for a moment"),
    ],
)
def test_view(pods: list[Pod], alive: int, ready: int, reason: Reason | None) -> None:
    seen = view(observed(pods=tuple(pods)), NOW)
    assert (seen.pods, seen.ready) == (alive, ready)
    assert (seen.failure.reason if seen.failure else None) == reason


def test_the_pod_of_a_job_is_none_of_the_runtimes() -> None:
    assert view(observed(pods=(pod("pull", ready_at=NOW),)), NOW).pods == 0


@pytest.mark.parametrize(
    ("created", "woken", "base"),
    [
        (NOW - 5, NOW - 5.3, NOW - 5.3),
        (NOW - 5, NOW - 4.2, NOW - 4.2),
        (NOW - 5, None, NOW - 5),
        (NOW - 5, NOW - 500, NOW - 5),
        (NOW - 50, NOW - 5, NOW - 50),
    ],
)
def test_a_start_counts_from_the_wake_that_made_the_pod(created: float, woken: float | None, base: float) -> None:
    assert coldstart.asked_at(pod(created=created), woken) == base


@pytest.mark.parametrize(
    ("reload", "base"), [(NOW - 5.3, NOW - 5.3), (NOW - 4.2, NOW - 4.2), (NOW - 500, NOW - 20), (None, NOW - 20)]
)
def test_a_reload_soon_after_a_wake_is_a_start_of_its_own(reload: float | None, base: float) -> None:
    """Counted from the wake it would be taken for the start that is recorded already."""
    assert coldstart.asked_at(pod(created=NOW - 5, reload_at=reload), NOW - 20) == base


def test_a_start_is_recorded_whole_and_in_order() -> None:
    timeline = (
        StageAt(stage=Stage.STARTING, at=NOW - 3.2),
        StageAt(stage=Stage.LOADING, at=NOW - 2.5),
        StageAt(stage=Stage.READY, at=NOW),
    )
    made = pod(created=NOW - 5, scheduled_at=NOW - 5)
    start = coldstart.record(made, state(timeline=timeline), NOW - 4.6, coldstart.Kind("cpu", "none"))
    assert start is not None
    assert [(s.stage, s.at_milliseconds) for s in start.stages] == [
        ("requested", 0),
        ("created", 0),
        ("scheduled", 0),
        ("started", 1400),
        ("loading", 2100),
        ("ready", 4600),
    ]
    assert (start.seconds, start.engine, start.passed) == (5, "vllm", None)
    assert (start.profile, start.quantization) == ("cpu", "none")


def test_an_unfinished_start_is_not_recorded() -> None:
    assert coldstart.record(pod(), state(Stage.LOADING), None, coldstart.Kind()) is None


def test_a_start_tells_the_engines_it_passed_over() -> None:
    passed = tuple(Passed(engine=e, reason=Reason.UNSUPPORTED, message="m", seconds=1) for e in ("vllm", "vllm"))
    start = coldstart.record(pod(), state(engine="transformers", passed=passed), None, coldstart.Kind())
    assert start is not None
    assert (start.engine, start.passed) == ("transformers", ["vllm"])


def _start(at: str) -> ColdStart:
    return ColdStart(at=at, seconds=1, engine="vllm", stages=[])


def test_the_last_five_starts_are_kept_each_once() -> None:
    known: list[ColdStart] | None = None
    for number in [*range(7), 6]:
        known = coldstart.append(known, _start(f"2026-01-01T00:0{number}:00Z"))
    assert [start.at[-5] for start in known or ()] == ["2", "3", "4", "5", "6"]
    assert coldstart.append(known, None) is known


def test_the_tables_own_words_are_what_a_supervisor_sends() -> None:
    said: dict[str, Any] = json.loads(last_words())
    assert said["failure"]["reason"] == "EngineFailed"
