"""How much longer a model will take to serve. Pure: what the status tells and a moment in, seconds out.

Learnt stage by stage from the model's own recorded starts of the same kind (profile, quantization, engine), and
corrected while the stages of the present start pass: what a passed stage really took replaces what it was expected to
take, a stage that outlasts some of the recorded ones can only be like the others, and the starts that went like this
one so far count most. Medians throughout, because one start in a few is always odd: the first with empty caches, a node
that had to pull the image. Pulls and quantized copies tell their own pace.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.lease import parse_time
from dormouse_api.status import ColdStart, PullStatus, StageTime, Starting
from dormouse_router.catalog.record import Record

UNKNOWN_SECONDS = 15.0
"""Said in Retry-After where nothing is known."""
SHORTEST, LONGEST = 1.0, 120.0
"""Clients of OpenAI's SDK obey Retry-After up to two minutes."""
NEWS = 1.0
"""Seconds until a new stage is in the status: a stage that should be over by now may well be."""
SLOW = 0.5
"""Of a stage that outlasts every recorded one: it goes on for half of what it is late already."""
ODD = 0.2
"""How little a start that went like this one so far may differ to count most (a share of the time passed)."""

Step = tuple[str, int]
"""A stage and which time it is: a second engine goes through the same stages again."""
Spans = dict[Step, float]
"""Seconds that each stage took, in their order."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When an estimate is asked for."""

    wall: float
    """Seconds since the epoch, as the operator and the runtime stamp the stages of a start."""
    waking: float = 0.0
    """Seconds since this router began the wake: all that is known until the operator tells of the start."""


NO_WAKE = Moment(0.0)
"""Where no start is under way."""


_UNKNOWN = frozenset(
    {Reason.INSPECTING, Reason.QUEUED, Reason.PULLING, Reason.QUANTIZING, Reason.PENDING, Reason.MAKING_ROOM}
)
"""What nobody can tell the end of."""


def remaining(record: Record, moment: Moment = NO_WAKE) -> float | None:
    """Seconds until the model can answer; None where nothing is known."""
    work = _work(record)
    if work is not None:
        usual = _usual(comparable(record))
        left = _left(work)
        return None if left is None or _copy_follows(record) else left + (usual or 0.0)
    if record.reason in _UNKNOWN:
        return None
    if record.failed and record.status.cooldown is not None:
        return max(SHORTEST, parse_time(record.status.cooldown.until) - moment.wall)
    starts, live = comparable(record), record.status.starting
    usual = _usual(starts)
    if record.reason == Reason.WAITING_FOR_ACCELERATOR:
        line = record.status.line
        return None if usual is None or line is None or line.seconds is None else line.seconds + usual
    if usual is None:
        return None
    if live is None or not live.stages or record.failed:
        return max(SHORTEST, usual - moment.waking)
    return max(SHORTEST, _rest(starts, live, usual, moment.wall - parse_time(live.at)))


def retry_after(left: float | None) -> float:
    """Seconds to name in Retry-After, from the estimate of what remains."""
    return min(LONGEST, max(SHORTEST, UNKNOWN_SECONDS if left is None else left))


def comparable(record: Record) -> list[ColdStart]:
    """The recorded starts that teach something about the present one, or about the next."""
    status, spec = record.status, record.spec
    live = status.starting
    kind = (live.profile, live.quantization) if live else (spec.profile or status.profile, status.quantization)
    order = {engine.value for engine in spec.engine.order}
    starts = [s for s in status.cold_starts or () if (s.profile, s.quantization) == kind and s.engine in order]
    if live is not None and live.engine is not None:
        return [s for s in starts if live.engine == s.engine or live.engine in (s.passed or ())]
    return [s for s in starts if s.engine == starts[-1].engine]


def _usual(starts: Sequence[ColdStart]) -> float | None:
    return _median([(float(s.seconds), 1.0) for s in starts]) if starts else None


def _rest(starts: Sequence[ColdStart], live: Starting, usual: float, elapsed: float) -> float:
    """Seconds from the stage that is under way to the end of the start."""
    step, passed, since = _progress(live.stages)
    past = [spans for spans in map(_spans, starts) if step in spans]
    if not past:
        return usual - elapsed
    weights = [_likeness(passed, spans) for spans in past]
    rest = _rest_of_stage([(spans[step], w) for spans, w in zip(past, weights, strict=True)], elapsed - since)
    later = dict.fromkeys(other for spans in past for other in _after(step, spans))
    return rest + sum(_median([(s.get(other, 0.0), w) for s, w in zip(past, weights, strict=True)]) for other in later)


def _rest_of_stage(took: list[tuple[float, float]], elapsed: float) -> float:
    """Seconds the stage still takes, `elapsed` after it began; negative where the next has probably begun already."""
    possible = [(seconds, weight) for seconds, weight in took if seconds + NEWS > elapsed]
    if possible:
        return _median(possible) - elapsed
    return (elapsed - NEWS - max(seconds for seconds, _ in took)) * SLOW


def _likeness(passed: Spans, other: Spans) -> float:
    """The weight of a recorded start, by how long it took for what this one has behind it; 1 s is as good as 2 s."""
    mine, theirs = sum(passed.values()), sum(other.get(step, 0.0) for step in passed)
    return 1.0 / (ODD + abs(log((mine + 1.0) / (theirs + 1.0))))


def _after(step: Step, spans: Spans) -> list[Step]:
    steps = list(spans)
    return steps[steps.index(step) + 1 :]


def _progress(stages: Sequence[StageTime]) -> tuple[Step, Spans, float]:
    """The stage that is under way, those behind it, and when it began (seconds after the start was asked for)."""
    steps = _steps(stages)
    return steps[-1], _spans_of(steps, stages), stages[-1].at_milliseconds / 1000


def _spans(start: ColdStart) -> Spans:
    return _spans_of(_steps(start.stages), start.stages)


def _spans_of(steps: Sequence[Step], stages: Sequence[StageTime]) -> Spans:
    times = [stage.at_milliseconds / 1000 for stage in stages]
    return {step: until - since for step, since, until in zip(steps, times, times[1:], strict=False)}


def _steps(stages: Sequence[StageTime]) -> list[Step]:
    seen: Counter[str] = Counter()
    steps: list[Step] = []
    for stage in stages:
        seen[stage.stage] += 1
        steps.append((stage.stage, seen[stage.stage]))
    return steps


def _median(weighted: list[tuple[float, float]]) -> float:
    """The weighted median; between the two in the middle where they weigh the same."""
    weighted = sorted(weighted)
    half, reached = sum(weight for _, weight in weighted) / 2, 0.0
    for number, (value, weight) in enumerate(weighted):
        reached += weight
        if abs(reached - half) < half * 1e-9:
            return (value + weighted[number + 1][0]) / 2
        if reached > half:
            return value
    raise ValueError("the median of nothing")


# ------------------------------------------------------------------------------------- before there can be a start


def _work(record: Record) -> PullStatus | None:
    """What the running pull or quantize Job tells of itself."""
    if record.reason == Reason.PULLING:
        return record.status.pull
    return record.status.quantize if record.reason == Reason.QUANTIZING else None


def _left(work: PullStatus) -> float | None:
    if work.eta_seconds is not None:
        return float(work.eta_seconds)
    return (work.total - work.bytes) / work.bytes_per_second if work.bytes_per_second > 0 else None


def _copy_follows(record: Record) -> bool:
    """A quantized copy is still to be made after this pull, and nobody can say how long that takes."""
    conditions = record.status.conditions or ()
    return record.reason == Reason.PULLING and any(
        c.type == ConditionType.QUANTIZED and c.reason == Reason.PENDING for c in conditions
    )
