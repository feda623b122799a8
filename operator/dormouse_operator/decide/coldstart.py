"""The timeline of a start, from the moment somebody asked for it. Pure.

The wake's own moment is the Lease's renewTime as it was when the model was woken (kept on the Deployment). The kubelet
tells times in whole seconds, so its stages are only that exact, and are never put before what went ahead of them.
"""

from datetime import UTC, datetime

from dormouse_api.runtime import RuntimeState, Stage
from dormouse_api.status import ColdStart, StageTime
from dormouse_operator.observed import Pod

KEEP = 5
SAME_WAKE = 60.0
"""A pod made later than this after the wake is a replacement: its start counts from its own creation."""

_STAGE_NAMES = {Stage.STARTING: "started"}
"""The supervisor's first moment is the container's start, told more exactly than the kubelet does."""


def asked_at(pod: Pod, woken_at: float | None) -> float:
    """The moment this pod's start was asked for, in seconds since the epoch."""
    # creation times have whole seconds: the pod of a wake at 10.7 s may say 10
    if woken_at is not None and -1.0 <= pod.created - woken_at <= SAME_WAKE:
        return woken_at
    return pod.created


def stamp(seconds: float) -> str:
    """A Kubernetes time of whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def record(pod: Pod, state: RuntimeState, woken_at: float | None) -> ColdStart | None:
    """The finished start of `pod`, or None while it is not finished."""
    if state.stage is not Stage.READY or not state.timeline:
        return None
    base = asked_at(pod, woken_at)
    points = [("requested", base), ("created", pod.created), ("scheduled", pod.scheduled_at)]
    points += [(_STAGE_NAMES.get(entry.stage, entry.stage.value), entry.at) for entry in state.timeline]
    stages: list[StageTime] = []
    latest = 0
    for name, at in points:
        if at is None:
            continue
        latest = max(latest, round((at - base) * 1000))
        stages.append(StageTime(stage=name, at_milliseconds=latest))
    return ColdStart(at=stamp(base), seconds=round(latest / 1000), engine=state.engine or "unknown", stages=stages[:16])


def append(known: list[ColdStart] | None, start: ColdStart | None) -> list[ColdStart] | None:
    """The last few starts, newest last; a start that is already there is not added again."""
    if start is None or any(old.at == start.at for old in known or ()):
        return known
    return [*(known or []), start][-KEEP:]
