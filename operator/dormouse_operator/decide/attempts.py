"""What became of a stage's Job, and whether to try again. Pure.

A stage's Jobs share the hash of their inputs and differ in their attempt number; both are on the Jobs, so nothing has
to be remembered elsewhere. Results are read from pods: they are there two seconds before the Job's own condition.
"""

from dataclasses import dataclass
from enum import Enum, auto

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.conditions import PERMANENT, Reason
from dormouse_api.results import EXIT_PERMANENT, Failure, Outcome
from dormouse_operator.decide.troubles import disruption, job_trouble, trouble
from dormouse_operator.decide.volume import room
from dormouse_operator.observed import Exit, Job, Model, Observed, Pod

FIRST_DELAY = 20.0
LONGEST_DELAY = 600.0
RATE_LIMIT_DELAY = 60.0
RECHECK_SECONDS = 300.0
"""Until a failure that somebody must cure is looked at again by itself: most cures (terms accepted, a token renewed, a
volume grown) are seen nowhere else."""
LONGEST_RECHECK = 3600.0

_VERSION = "let the chart's image.tag, or the profile's image, be of the operator's version"
_LOGS = "look at kubectl logs of its pod; it is tried again by itself"
_MEMORY = "raise resources.limits.memory in the profile"
_SMALL_MEMORY = "it goes on where it stopped, by itself; should it happen again, report it to Dormouse's makers"


class Step(Enum):
    """Where a stage stands."""

    START = auto()
    """No Job yet for this attempt: make it."""
    WAITING = auto()
    """No Job yet, and others first."""
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
    hint: Failure | None = None
    """What hinders it and may pass by itself; `look_at`: when it counts as a failure."""
    look_at: float | None = None


def judge(o: Observed, stage: str, inputs: str, now: float, recheck: float = RECHECK_SECONDS) -> Stage:
    """The state of `stage` for these inputs, from its Jobs and their pods; `recheck` as RECHECK_SECONDS."""
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
        odd = Failure(reason=Reason.JOB_FAILED, message=f"{message}: {_VERSION}")
        return _failed(o.model, job, odd, _ended(job, pods[-1]) + delay(job.attempt, odd), now)
    last = pods[-1] if pods else None
    failure = job_failure(job, last)
    if failure is None:
        return _running(o, job, last, now)
    if failure.reason is Reason.NO_SPACE and o.claim is not None and job.room not in ("", room(o.model, o.claim)):
        return Stage(Step.START, job.attempt + 1, failure=failure)  # the volume has grown, or something left it
    return _failed(o.model, job, failure, _ended(job, last) + delay(job.attempt, failure, recheck), now)


def _running(o: Observed, job: Job, pod: Pod | None, now: float) -> Stage:
    """The Job still runs; what hinders its newest pod, or ended the one before, is told."""
    if pod is None:
        return Stage(Step.RUNNING, job.attempt, failure=job_trouble(job, now))
    if ended := _cut_off(pod):
        return Stage(Step.RUNNING, job.attempt, failure=ended, pod=pod)
    hindered = trouble(o, pod, now)
    if hindered is None:
        return Stage(Step.RUNNING, job.attempt, pod=None if pod.deleting else pod)
    hint, failure = hindered.cause, hindered.failure(now)
    return Stage(Step.RUNNING, job.attempt, failure=failure, pod=pod, hint=hint, look_at=hindered.look_at(now))


def _cut_off(pod: Pod) -> Failure | None:
    """Why the pod has ended, or must, while its Job goes on with another."""
    ended = exit_failure(pod.exit, pod.component) if pod.exit is not None and pod.exit.code else None
    if ended is not None and ended.reason is not Reason.JOB_FAILED:
        return ended
    return disruption(pod) or ended


def _failed(model: Model, job: Job, failure: Failure, retry_at: float, now: float) -> Stage:
    again = job.attempt + 1
    if job.generation != model.generation:
        return Stage(Step.START, again)  # the user changed something: what was permanent may be cured
    if now >= retry_at:
        return Stage(Step.START, again, failure=failure)
    return Stage(Step.FAILED, job.attempt, failure=failure, retry_at=retry_at)


def delay(attempt: int, failure: Failure, recheck: float = RECHECK_SECONDS) -> float:
    """Seconds to wait after `attempt` failed: doubling, and as long as the hub asked for."""
    if failure.reason in PERMANENT or failure.reason is Reason.INVALID_SPEC:
        return min(LONGEST_RECHECK, recheck * 2.0 ** min(attempt, 16))
    first = RATE_LIMIT_DELAY if failure.reason is Reason.RATE_LIMITED else FIRST_DELAY
    return max(min(LONGEST_DELAY, first * 2.0 ** min(attempt, 16)), float(failure.retry_after_seconds or 0))


def job_failure(job: Job, pod: Pod | None) -> Failure | None:
    """Why the Job has ended in failure, or None while it has not. Exit 42 ends it before the Job itself says so."""
    permanent = pod is not None and pod.exit is not None and pod.exit.code == EXIT_PERMANENT
    if job.failed_reason is None and not permanent:
        return None
    if pod is not None and pod.exit is not None and pod.exit.code:
        return exit_failure(pod.exit, pod.component)
    if job.failed_reason == "DeadlineExceeded":
        message = f"Job {job.name} took longer than it may and was stopped: look at the network between pod and hub, "
        message += "or what its pod waits for; it goes on where it stopped"
        return Failure(reason=Reason.STALLED, message=message)
    if pod is not None and (ended := disruption(pod)) is not None:
        return ended
    text = job.failed_message or job.failed_reason or "its pod is gone"
    return Failure(reason=Reason.JOB_FAILED, message=f"Job {job.name} failed: {text.rstrip('.')}: {_LOGS}")


def exit_failure(end: Exit, component: str = names.COMPONENT_QUANTIZE) -> Failure:
    """Why the container of a stage ended with an error: its own words, or what can be told from the outside."""
    outcome = read_outcome(end)
    if outcome is not None and outcome.failure is not None:
        return outcome.failure
    if end.reason == "OOMKilled":
        fix = _MEMORY if component == names.COMPONENT_QUANTIZE else _SMALL_MEMORY
        return Failure(
            reason=Reason.OUT_OF_MEMORY,
            message=f"the {component} container was killed for using more memory than its limit: {fix}",
        )
    said = end.message.strip().splitlines()
    words = f": {said[-1][:500]}" if said else ""
    return Failure(reason=Reason.JOB_FAILED, message=f"the container ended with exit code {end.code}{words}: {_LOGS}")


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
