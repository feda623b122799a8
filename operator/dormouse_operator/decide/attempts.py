"""What became of a stage's Job, and whether to try again. Pure.

A stage's Jobs share the hash of their inputs and differ in their attempt number; both are on the Jobs, so nothing has
to be remembered elsewhere. Results are read from pods: they are there two seconds before the Job's own condition.
"""

from dataclasses import dataclass
from enum import Enum, auto

from pydantic import ValidationError

from dormouse_api.conditions import PERMANENT, Reason
from dormouse_api.results import EXIT_PERMANENT, Failure, Outcome
from dormouse_operator.decide.troubles import trouble
from dormouse_operator.observed import Exit, Job, Model, Observed, Pod

FIRST_DELAY = 20.0
LONGEST_DELAY = 600.0
RATE_LIMIT_DELAY = 60.0


class Step(Enum):
    """Where a stage stands."""

    START = auto()
    """No Job yet for this attempt: make it."""
    RUNNING = auto()
    FAILED = auto()
    DONE = auto()


@dataclass(frozen=True)
class Stage:
    """A stage's state. `attempt` is the Job to have; `failure` says what went wrong last, `retry_at` when we go on."""

    step: Step
    attempt: int = 0
    outcome: Outcome | None = None
    failure: Failure | None = None
    retry_at: float | None = None
    pod: Pod | None = None


def judge(o: Observed, stage: str, inputs: str, now: float) -> Stage:
    """The state of `stage` for these inputs, from its Jobs and their pods."""
    jobs = sorted((j for j in o.jobs or () if j.stage == stage and j.inputs == inputs), key=lambda j: j.attempt)
    if not jobs:
        return Stage(Step.START)
    job = jobs[-1]
    if job.deleting:
        # an apply would land on the dying object and vanish with it: wait for its DELETED event
        return Stage(Step.RUNNING, job.attempt)
    pods = [p for p in o.pods_of(stage) if p.job == job.name]
    for pod in pods:
        if pod.phase == "Succeeded" and (outcome := read_outcome(pod.exit)) is not None and outcome.failure is None:
            return Stage(Step.DONE, job.attempt, outcome, pod=pod)
    if job.complete and not pods:
        return Stage(Step.START, job.attempt + 1)  # the evidence went with the pods; running again is cheap
    if job.complete:
        message = f"Job {job.name} ended without a result: its image does not belong to this operator's version"
        return _failed(o.model, job, Failure(reason=Reason.JOB_FAILED, message=message), _ended(job, pods[-1]), now)
    last = pods[-1] if pods else None
    failure = job_failure(job, last)
    if failure is None:
        return _running(job, last, now)
    return _failed(o.model, job, failure, _ended(job, last), now)


def _running(job: Job, pod: Pod | None, now: float) -> Stage:
    """The Job still runs; what hinders its newest pod, or ended the one before, is told."""
    if pod is None or pod.deleting:
        return Stage(Step.RUNNING, job.attempt)
    hindered = trouble(pod, now)
    ended = exit_failure(pod.exit) if pod.exit and pod.exit.code else None
    failure = ended or (hindered.failure if hindered else None)
    return Stage(Step.RUNNING, job.attempt, failure=failure, retry_at=hindered.look_at if hindered else None, pod=pod)


def _failed(model: Model, job: Job, failure: Failure, ended: float, now: float) -> Stage:
    again = job.attempt + 1
    if job.generation != model.generation:
        return Stage(Step.START, again)  # the user changed something: what was permanent may be cured
    if failure.reason in PERMANENT or failure.reason is Reason.INVALID_SPEC:
        return Stage(Step.FAILED, job.attempt, failure=failure)
    retry_at = ended + delay(job.attempt, failure)
    if now >= retry_at:
        return Stage(Step.START, again, failure=failure)
    return Stage(Step.FAILED, job.attempt, failure=failure, retry_at=retry_at)


def delay(attempt: int, failure: Failure) -> float:
    """Seconds to wait after `attempt` failed: doubling, and as long as the hub asked for."""
    first = RATE_LIMIT_DELAY if failure.reason is Reason.RATE_LIMITED else FIRST_DELAY
    return max(min(LONGEST_DELAY, first * 2.0 ** min(attempt, 16)), float(failure.retry_after_seconds or 0))


def job_failure(job: Job, pod: Pod | None) -> Failure | None:
    """Why the Job has ended in failure, or None while it has not. Exit 42 ends it before the Job itself says so."""
    permanent = pod is not None and pod.exit is not None and pod.exit.code == EXIT_PERMANENT
    if job.failed_reason is None and not permanent:
        return None
    if pod is not None and pod.exit is not None and pod.exit.code:
        return exit_failure(pod.exit)
    if job.failed_reason == "DeadlineExceeded":
        return Failure(reason=Reason.STALLED, message=f"Job {job.name} took longer than it may and was stopped")
    text = job.failed_message or job.failed_reason or "its pod is gone"
    return Failure(reason=Reason.JOB_FAILED, message=f"Job {job.name} failed: {text}")


def exit_failure(end: Exit) -> Failure:
    """Why a container ended with an error: its own words, or what can be told from the outside."""
    outcome = read_outcome(end)
    if outcome is not None and outcome.failure is not None:
        return outcome.failure
    if end.reason == "OOMKilled":
        return Failure(
            reason=Reason.OUT_OF_MEMORY,
            message="the container was killed for using more memory than its limit: raise the profile's memory limit",
        )
    said = end.message.strip().splitlines()
    words = f": {said[-1][:500]}" if said else ""
    return Failure(reason=Reason.JOB_FAILED, message=f"the container ended with exit code {end.code}{words}")


def read_outcome(end: Exit | None) -> Outcome | None:
    """The Job's message, or None when the container left none of ours."""
    if end is None or not end.message.lstrip().startswith("{"):
        return None
    try:
        return Outcome.model_validate_json(end.message)
    except ValidationError:
        return None


def _ended(job: Job, pod: Pod | None) -> float:
    return job.ended_at or (pod.exit.finished if pod is not None and pod.exit is not None else 0.0)
