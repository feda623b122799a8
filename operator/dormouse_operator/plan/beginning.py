"""Whether a Job may begin now: the volume is free and has room, and there is a place for one more pull. Pure."""

from dataclasses import replace

from dormouse_api.conditions import Reason
from dormouse_api.names import COMPONENT_ADAPTER, COMPONENT_BIND, COMPONENT_SWEEP
from dormouse_api.results import Failure
from dormouse_operator.decide.attempts import Stage, Step
from dormouse_operator.decide.volume import too_small
from dormouse_operator.observed import Observed

BESIDE = frozenset({COMPONENT_SWEEP, COMPONENT_ADAPTER, COMPONENT_BIND})
"""Stages that are none of the pipeline's, and write to the same volume."""
WAIT_SECONDS = 2.0
"""Until it is looked again whether another model's Job has left the volume: its events are not ours."""


def in_line(o: Observed, step: Stage) -> Stage:
    """`step` of a pull, if there is a place for one more."""
    if step.step is Step.START and o.spot is not None and not o.spot.go:
        return replace(step, step=Step.WAITING, look_at=o.spot.look_at)
    return step


def in_turn(o: Observed, step: Stage, now: float) -> Stage:
    """`step`, if its turn has come: one Job at a time writes to a volume, for two pulls of the same files would spoil
    each other's."""
    if step.step is Step.START and _making_room(o):
        hint = Failure(reason=Reason.STORAGE_FAILED, message="what nobody needs any more is being removed first")
        return Stage(Step.RUNNING, step.attempt, hint=hint, look_at=now + WAIT_SECONDS)
    mine = tuple(j for j in o.jobs or () if j.stage in BESIDE and not j.complete and j.failed_reason is None)
    if step.step is not Step.START or not (o.at_work or mine):
        return step
    job = (*o.at_work, *mine)[0]
    words = f"it waits for the {job.stage} of {job.model or 'another model'}, which writes to the same volume"
    hint = Failure(reason=Reason.STORAGE_FAILED, message=words)
    return Stage(Step.RUNNING, step.attempt, hint=hint, look_at=now + WAIT_SECONDS)


def _making_room(o: Observed) -> bool:
    """Whether folders are about to go; not where pods still have them, or that fails."""
    volume = o.model.status.volume
    if volume is None or o.claim is None or volume.claim_uid != o.claim.uid:
        return False
    failed = any(j.stage == COMPONENT_SWEEP and j.failed_reason is not None for j in o.jobs or ())
    return bool(set(volume.removing or ()) - (o.mounted or frozenset())) and not failed


def fitting(o: Observed, step: Stage) -> Stage:
    """`step`, with the way out of a volume that is too small: it depends on the volume."""
    if step.failure is None or step.failure.reason is not Reason.NO_SPACE or o.claim is None:
        return step
    asked = o.model.spec.storage.size
    return replace(step, failure=too_small(step.failure, o.claim, o.expandable, asked))
