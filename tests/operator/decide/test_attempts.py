"""What became of a Job: one row per thing that can happen to it."""

from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_operator.decide.attempts import Step, delay, exit_failure, judge
from dormouse_operator.observed import Job, Pod
from tests.operator.builders import NOW, ended, failure, inspected, job, model, observed, pod

IN = "inputs"


def inspect(**more: Any) -> Job:
    return job("inspect", IN, **more)


def of(**more: Any) -> Pod:
    return pod("inspect", **more)


@pytest.mark.parametrize(
    ("jobs", "pods", "step", "attempt", "reason"),
    [
        pytest.param([], [], Step.START, 0, None, id="nothing yet"),
        pytest.param([job("inspect", "other")], [], Step.START, 0, None, id="other inputs do not count"),
        pytest.param([inspect()], [], Step.RUNNING, 0, None, id="no pod yet"),
        pytest.param([inspect()], [of()], Step.RUNNING, 0, None, id="running"),
        pytest.param([inspect(deleting=True)], [], Step.RUNNING, 0, None, id="going away: wait"),
        pytest.param(
            [inspect()],
            [of(phase="Succeeded", exit=ended(0, inspected()))],
            Step.DONE,
            0,
            None,
            id="result from the pod",
        ),
        pytest.param([inspect(complete=True)], [], Step.START, 1, None, id="evidence lost: again"),
        pytest.param(
            [inspect()], [of(phase="Failed", exit=ended(42, failure("Gated")))], Step.FAILED, 0, Reason.GATED, id="42"
        ),
        pytest.param(
            [inspect()],
            [of(phase="Failed", exit=ended(1, failure("Network")))],
            Step.RUNNING,
            0,
            Reason.NETWORK,
            id="the Job itself tries again, and the reason is told",
        ),
        pytest.param(
            [inspect(failed_reason="BackoffLimitExceeded", ended_at=NOW - 1)],
            [of(phase="Failed", exit=ended(1, failure("Network")))],
            Step.FAILED,
            0,
            Reason.NETWORK,
            id="the Job gave up: wait",
        ),
        pytest.param(
            [inspect(failed_reason="BackoffLimitExceeded", ended_at=NOW - 100)],
            [of(phase="Failed", exit=ended(1, failure("Network")))],
            Step.START,
            1,
            Reason.NETWORK,
            id="waited long enough",
        ),
        pytest.param(
            [inspect(failed_reason="PodFailurePolicy", ended_at=NOW - 9999, generation=0)],
            [of(phase="Failed", exit=ended(42, failure("Gated")))],
            Step.START,
            1,
            None,
            id="another generation: what was permanent may be cured",
        ),
        pytest.param(
            [inspect(failed_reason="DeadlineExceeded", ended_at=NOW)],
            [],
            Step.FAILED,
            0,
            Reason.STALLED,
            id="deadline",
        ),
        pytest.param(
            [inspect(failed_reason="BackoffLimitExceeded", ended_at=NOW)],
            [],
            Step.FAILED,
            0,
            Reason.JOB_FAILED,
            id="failed without a word",
        ),
        pytest.param(
            [inspect()],
            [of(phase="Pending", waiting="ImagePullBackOff")],
            Step.RUNNING,
            0,
            Reason.IMAGE_PULL_FAILED,
            id="no image",
        ),
        pytest.param(
            [inspect()],
            [of(phase="Pending", unschedulable="0/1 nodes", unschedulable_since=NOW - 60)],
            Step.RUNNING,
            0,
            Reason.UNSCHEDULABLE,
            id="no node",
        ),
        pytest.param(
            [inspect(attempt=1, name="second"), inspect(failed_reason="x", ended_at=NOW)],
            [of(job="second")],
            Step.RUNNING,
            1,
            None,
            id="the last attempt counts",
        ),
    ],
)
def test_judgement(jobs: list[Job], pods: list[Pod], step: Step, attempt: int, reason: Reason | None) -> None:
    stage = judge(observed(model(), jobs=tuple(jobs), pods=tuple(pods)), "inspect", IN, NOW)
    assert (stage.step, stage.attempt) == (step, attempt)
    assert (stage.failure.reason if stage.failure else None) == reason


def test_a_pod_without_a_node_is_given_a_moment() -> None:
    stuck = of(phase="Pending", unschedulable="0/1 nodes", unschedulable_since=NOW - 1)
    stage = judge(observed(jobs=(inspect(),), pods=(stuck,)), "inspect", IN, NOW)
    assert stage.failure is None
    assert stage.look_at == NOW + 9
    assert stage.hint is not None
    assert stage.hint.reason is Reason.UNSCHEDULABLE


@pytest.mark.parametrize(
    ("attempt", "said", "seconds"),
    [
        (0, Failure(reason=Reason.NETWORK, message=""), 20),
        (1, Failure(reason=Reason.NETWORK, message=""), 40),
        (50, Failure(reason=Reason.NETWORK, message=""), 600),
        (0, Failure(reason=Reason.RATE_LIMITED, message=""), 60),
        (0, Failure(reason=Reason.RATE_LIMITED, message="", retry_after_seconds=300), 300),
    ],
)
def test_delay(attempt: int, said: Failure, seconds: float) -> None:
    assert delay(attempt, said) == seconds


@pytest.mark.parametrize(
    ("code", "message", "reason", "expected", "words"),
    [
        (42, failure("NoSpace", "raise spec.storage.size"), "Error", Reason.NO_SPACE, "raise"),
        (137, "", "OOMKilled", Reason.OUT_OF_MEMORY, "raise resources.limits.memory"),
        (1, "first line\nlast line", "Error", Reason.JOB_FAILED, "last line"),
        (3, "", "Error", Reason.JOB_FAILED, "exit code 3"),
        (1, '{"failure": {"reason": "NoSuchReason", "message": "x"}}', "Error", Reason.JOB_FAILED, "exit code 1"),
        (1, '{"cut off', "Error", Reason.JOB_FAILED, "exit code 1"),
    ],
)
def test_exit(code: int, message: str, reason: str, expected: Reason, words: str) -> None:
    found = exit_failure(ended(code, message, reason))
    assert found.reason is expected
    assert words in found.message
