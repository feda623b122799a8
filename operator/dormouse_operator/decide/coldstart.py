"""The timeline of a start, from the moment somebody asked for it. Pure.

The wake's own moment is the Lease's renewTime as it was when the model was woken (kept on the Deployment). The kubelet
tells times in whole seconds, so its stages are only that exact, and are never put before what went ahead of them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median

from dormouse_api.lease import micro_time, parse_time
from dormouse_api.runtime import RuntimeState, Stage
from dormouse_api.status import ColdStart, StageTime, Starting
from dormouse_operator.observed import Pod

KEEP = 5
LATELY = 120.0
"""Seconds after a start within which a new operator process makes sure that its Event is there."""
SKEW, ANSWER_SECONDS = 2.0, 120.0
"""A first token belongs to the start that served so long after it, at the earliest, or so long before it. The kubelet
tells whole seconds, and clocks differ."""
FEWEST = 2
"""Starts that make a history."""
SAME_WAKE = 60.0
"""A pod made later than this after the wake is a replacement: its start counts from its own creation."""

AT_EXACT = 1.0
"""Seconds: `at` has whole ones."""

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
        points += [("created", pod.created), ("scheduled", pod.scheduled_at), ("mounted", _mounted(pod, state))]
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


def _mounted(pod: Pod, state: RuntimeState | None) -> float | None:
    """The kubelet may come to tell of it only after the container has started."""
    began = state.timeline[0].at if state is not None and state.timeline else pod.started_at
    return pod.mounted_at if pod.mounted_at is None or began is None else min(pod.mounted_at, began)


SPANS = {
    "requested": "creation",
    "created": "scheduling",
    "scheduled": "volume",
    "mounted": "image",
    "started": "supervisor",
    "importing": "import",
    "loading": "load",
    "compiling": "compile",
    "warming": "warm",
}
"""What goes on from each moment of a start to the next."""
FIRST_TOKEN = "first_token"  # noqa: S105 - a stage's name
"""From serving to the first token of the first stream that waited."""
NODE = "node"
"""Volume and image together, where the kubelet does not tell when the one was there."""


def spans(start: ColdStart) -> dict[str, float]:
    """Seconds by what they went into, in order; what several engines were tried for is added up."""
    found: dict[str, float] = {}
    stages = start.stages
    told = any(stage.stage == "mounted" for stage in stages)
    for this, following in pairwise(stages):
        name = NODE if this.stage == "scheduled" and not told else SPANS.get(this.stage, this.stage)
        found[name] = found.get(name, 0.0) + (following.at_milliseconds - this.at_milliseconds) / 1000
    return found


def total(start: ColdStart) -> float:
    """Seconds from the moment it was asked for until it served."""
    return start.stages[-1].at_milliseconds / 1000 if start.stages else float(start.seconds)


def sentence(start: ColdStart) -> str:
    """The whole start in one line."""
    told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in spans(start).items())
    return f"started in {total(start):.1f} s with {start.engine}: {told}"


def first_tokens(old: list[ColdStart] | None, new: list[ColdStart] | None) -> dict[str, list[float]]:
    """Seconds from serving to the first token, by engine, of the starts of which that has come to be known."""
    told = {start.at for start in old or () if start.first_token_milliseconds is not None}
    found: dict[str, list[float]] = {}
    for start in new or ():
        if start.first_token_milliseconds is not None and start.at not in told:
            found.setdefault(start.engine, []).append(start.first_token_milliseconds / 1000 - total(start))
    return found


def news(old: list[ColdStart] | None, new: list[ColdStart] | None) -> list[ColdStart]:
    """The starts that have been recorded between two statuses."""
    known = {start.at for start in old or ()}
    return [start for start in new or () if start.at not in known]


def usual(known: list[ColdStart] | None) -> float | None:
    """The median seconds of the starts like the last one, before it; None where there are not two of them."""
    if not known:
        return None
    last = known[-1]
    alike = [total(start) for start in known[:-1] if _like(start) == _like(last)]
    return median(alike) if len(alike) >= FEWEST else None


def _like(start: ColdStart) -> tuple[str, str | None, str | None]:
    return start.engine, start.profile, start.quantization


def lately(known: list[ColdStart] | None, now: float) -> list[ColdStart]:
    """The starts that have just been recorded, perhaps by a process that then died before it told of them."""
    return [start for start in known or () if parse_time(start.at) + start.seconds > now - LATELY]


@dataclass(frozen=True)
class Answered:
    """The first token of a stream that waited for the start of `at`."""

    at: str
    milliseconds: int
    """Since the start was asked for."""


def answered(pod: Pod, first_token: float | None, woken_at: float | None) -> Answered | None:
    """What `first_token` (seconds since the epoch) says of the start of `pod`, if it is of that one."""
    base = asked_at(pod, woken_at)
    if first_token is None or pod.ready_at is None or not -SKEW <= first_token - pod.ready_at <= ANSWER_SECONDS:
        return None
    return Answered(stamp(base), round((first_token - base) * 1000))


def append(known: list[ColdStart] | None, start: ColdStart | None) -> list[ColdStart] | None:
    """The last few starts, newest last; a start that is already there is not added again."""
    if start is None or any(_same(old, start) for old in known or ()):
        return known
    return [*(known or []), start][-KEEP:]


def _same(old: ColdStart, start: ColdStart) -> bool:
    """Whether both tell of one pod. When it was ready is its own word; when it was asked for seems another once the
    next wake has its moment written over this one's."""
    return abs(_ended(old) - _ended(start)) <= AT_EXACT


def _ended(start: ColdStart) -> float:
    return parse_time(start.at) + total(start)


def complete(known: list[ColdStart] | None, first: Answered | None) -> list[ColdStart] | None:
    """The starts, the last one with its first token; what is known already stays."""
    if not known or first is None or known[-1].at != first.at or known[-1].first_token_milliseconds is not None:
        return known
    served = known[-1].stages[-1].at_milliseconds if known[-1].stages else 0
    # no sooner than it was ready: the moments are of different clocks
    return [*known[:-1], known[-1].model_copy(update={"first_token_milliseconds": max(served, first.milliseconds)})]
