"""The timeline of a start, from the moment somebody asked for it. Pure.

The wake's own moment is the Lease's renewTime as it was when the model was woken (kept on the Deployment). The kubelet
tells times in whole seconds, so its stages are only that exact, and are never put before what went ahead of them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from dormouse_api.lease import micro_time
from dormouse_api.runtime import RuntimeState, Stage
from dormouse_api.status import ColdStart, StageTime, Starting
from dormouse_operator.observed import Pod

KEEP = 5
SAME_WAKE = 60.0
"""A pod made later than this after the wake is a replacement: its start counts from its own creation."""

NAMES = {Stage.STARTING: "started"}
"""The supervisor's first moment is the container's start, told more exactly than the kubelet does."""


def asked_at(pod: Pod, woken_at: float | None) -> float:
    """The moment this pod's start was asked for, by a wake or a reload, in seconds since the epoch."""
    # creation times have whole seconds: the pod of a wake at 10.7 s may say 10
    asked = [at for at in (woken_at, pod.reload_at) if at is not None and -1.0 <= pod.created - at <= SAME_WAKE]
    return max(asked, default=pod.created)


def stamp(seconds: float) -> str:
    """A Kubernetes time of whole seconds."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Kind:
    """What a start depends on, beside the engine: those of one kind teach something about each other."""

    profile: str | None = None
    quantization: str | None = None


def record(pod: Pod, state: RuntimeState, woken_at: float | None, kind: Kind) -> ColdStart | None:
    """The finished start of `pod`, or None while it is not finished."""
    if state.stage is not Stage.READY or not state.timeline:
        return None
    base = asked_at(pod, woken_at)
    stages = _stages(base, pod, state)
    served = state.engine or "unknown"
    return ColdStart(
        at=stamp(base),
        seconds=round(stages[-1].at_milliseconds / 1000),
        engine=served,
        passed=list(dict.fromkeys(p.engine for p in state.passed if p.engine != served))[:8] or None,
        profile=kind.profile,
        quantization=kind.quantization,
        stages=stages[:16],
    )


def under_way(pod: Pod | None, state: RuntimeState | None, woken_at: float | None, kind: Kind) -> Starting | None:
    """The start as far as it has come; None where there is neither a pod nor a wake. Changes with each stage only."""
    base = woken_at if pod is None else asked_at(pod, woken_at)
    if base is None:
        return None
    if pod is None or pod.started_at is None:
        state = None  # the last word of the pod before this one
    return Starting(
        at=micro_time(base),
        engine=state.engine if state else None,
        profile=kind.profile,
        quantization=kind.quantization,
        stages=_stages(base, pod, state)[-16:],
    )


def _stages(base: float, pod: Pod | None, state: RuntimeState | None) -> list[StageTime]:
    points: list[tuple[str, float | None]] = [("requested", base)]
    if pod is not None:
        points += [("created", pod.created), ("scheduled", pod.scheduled_at)]
    if state is not None:
        points += [(NAMES.get(entry.stage, entry.stage.value), entry.at) for entry in state.timeline]
    stages: list[StageTime] = []
    latest = 0
    for name, at in points:
        if at is None:
            continue
        latest = max(latest, round((at - base) * 1000))
        stages.append(StageTime(stage=name, at_milliseconds=latest))
    return stages


def append(known: list[ColdStart] | None, start: ColdStart | None) -> list[ColdStart] | None:
    """The last few starts, newest last; a start that is already there is not added again."""
    if start is None or any(old.at == start.at for old in known or ()):
        return known
    return [*(known or []), start][-KEEP:]
