"""Starts as they go: recorded ones, generated ones, and what the status says of one at each second of it.

`measure` replays them and tells how wrong an estimate of the remaining time was at every whole second.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from dormouse_api.lease import micro_time
from dormouse_api.status import ColdStart, StageTime, Starting
from dormouse_router.catalog.record import Record, record_from
from dormouse_router.dataplane.estimate import Moment
from tests.router.fakes import model

Spans = dict[str, float]
"""Seconds of each stage, in order."""
Estimate = Callable[[Record, Moment], float | None]

KEPT = 5
"""Starts that the operator keeps in the status."""
KNOWN = 3
"""An estimate is judged once so many are there."""
ENGINES_OWN = ("importing", "loading", "compiling", "warming")
ASKED = 1_800_000_000.37


def _recorded(*rows: tuple[float, float, float, float, float]) -> tuple[Spans, ...]:
    names = ("scheduled", "started", "importing", "loading", "warming")
    return tuple({"requested": 0.0, "created": 0.0, **dict(zip(names, row, strict=True))} for row in rows)


COLD = _recorded((0.95, 0.16, 6.61, 0.73, 0.45), (0.85, 0.16, 6.60, 0.68, 0.42), (1.01, 0.16, 6.91, 0.74, 0.46))
WARM = _recorded((0.82, 0.16, 5.05, 0.65, 0.43), (0.73, 0.16, 4.91, 0.62, 0.41), (0.99, 0.16, 5.32, 0.72, 0.43))
"""tiny-chat on vLLM, CPU: the figures of docs/performance.md, "Cold start", median, least and most of three each."""
TEN = _recorded(
    (0.86, 0.19, 5.87, 0.73, 0.44),
    (0.83, 0.17, 5.67, 0.72, 0.47),
    (0.81, 0.22, 5.83, 0.73, 0.46),
    (0.77, 0.19, 5.76, 0.71, 0.46),
    (0.82, 0.19, 5.84, 0.74, 0.45),
    (0.95, 0.20, 5.81, 0.70, 0.44),
    (0.83, 0.20, 5.78, 0.69, 0.46),
    (0.90, 0.19, 5.59, 0.71, 0.43),
    (0.86, 0.18, 5.60, 0.70, 0.47),
    (0.90, 0.18, 5.86, 0.77, 0.45),
)
"""Ten of them in a row, as `bench.coldstart --runs 10 --caches warm` wrote them on a busy machine."""


@dataclass(frozen=True)
class Kind:
    """A model somewhere: how long its stages take, and how much that varies."""

    usual: Spans
    cold: Spans
    """Stages that take so long where the node has forgotten the weights."""
    first: Spans = field(default_factory=dict)
    """Stages of its very first start: nothing is compiled and the node has no image."""
    sway: float = 0.05
    """How much whole starts differ (standard deviation of the logarithm): other work beside it."""
    noise: float = 0.05
    """How much a stage differs by itself."""
    odd: float = 0.02
    """Share of stages that take one and a half to three times as long for no reason: one start in seven has one."""
    forgotten: float = 0.0
    """Share of starts that are cold, beside the first."""

    def starts(self, seed: int, count: int) -> list[Spans]:
        """`count` starts in a row; the same ones for the same seed."""
        chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        return [self._start(chance, first=number == 0) for number in range(count)]

    def _start(self, chance: random.Random, *, first: bool) -> Spans:
        cold = first or chance.random() < self.forgotten
        whole = math.exp(chance.gauss(0, self.sway))
        spans = self.usual | (self.cold if cold else {}) | (self.first if first else {})
        for stage in spans:
            spans[stage] *= math.exp(chance.gauss(0, self.noise)) * (whole if stage in ENGINES_OWN else 1.0)
            if chance.random() < self.odd:
                spans[stage] *= chance.uniform(1.5, 3.0)
        return spans


def _spans(*seconds: float) -> Spans:
    names = ("requested", "created", "scheduled", "started", *ENGINES_OWN)
    return {name: span for name, span in zip(names, seconds, strict=True) if span}


KINDS = {
    "tiny on a CPU": Kind(_spans(0.01, 0.02, 0.82, 0.16, 5.05, 0.65, 0, 0.43), {"importing": 6.61, "loading": 0.73}),
    "8B on a GPU": Kind(
        _spans(0.01, 0.02, 1.5, 0.2, 11, 7, 6, 5),
        {"importing": 13, "loading": 20},
        {"scheduled": 45, "compiling": 35},
    ),
    "70B on eight GPUs": Kind(
        _spans(0.01, 0.02, 2, 0.3, 14, 70, 12, 14), {"loading": 150}, {"scheduled": 90, "compiling": 70}
    ),
    "a busy CPU": Kind(_spans(0.01, 0.02, 1, 0.3, 9, 4, 0, 3), {"importing": 12}, sway=0.10),
}
HARSH = {name: replace(kind, forgotten=0.3, odd=0.03, sway=0.1, noise=0.08) for name, kind in KINDS.items()}
"""Nearly every third start finds cold caches, which nobody can know beforehand."""


def whole(spans: Spans) -> float:
    return sum(spans.values())


def stages(spans: Spans) -> list[StageTime]:
    """As the operator records them: the kubelet's moments in whole seconds, and none before what went ahead of it."""
    told: list[StageTime] = []
    at = latest = 0.0
    for name, span in spans.items():
        seen = math.floor(ASKED + at) - ASKED if name in ("created", "scheduled") else at
        latest = max(latest, seen)
        told.append(StageTime(stage=name, at_milliseconds=round(latest * 1000)))
        at += span
    return [*told, StageTime(stage="ready", at_milliseconds=round(at * 1000))]


def cold_start(spans: Spans, **kind: object) -> ColdStart:
    """A finished start as the status keeps it."""
    given = {"engine": "vllm", "profile": "cpu", "quantization": "none"} | kind
    seconds = round(whole(spans))
    return ColdStart.model_validate({"at": micro_time(ASKED), "seconds": seconds, "stages": stages(spans)} | given)


def waking(known: Sequence[ColdStart], starting: Starting | None = None) -> Record:
    """A model that wakes, and what its status knows."""
    fields = {"cold_starts": list(known), "starting": starting, "profile": "cpu", "quantization": "none"}
    return replace(_WAKING, status=_WAKING.status.model_copy(update=fields))


_WAKING = record_from(model(reason="Waking"))


def under_way(
    spans: Spans, at: float, delays: Sequence[float] | None = None, seen: Sequence[StageTime] | None = None
) -> Starting:
    """What the status says `at` seconds after the wake: each stage is told its delay after it began.

    `seen`: `stages(spans)`, where it is known already.
    """
    begun, began = [], 0.0
    recorded = stages(spans) if seen is None else seen
    for number, (stage, span) in enumerate(zip(recorded, [*spans.values(), 0.0], strict=True)):
        if began + (delays[number] if delays and number else 0.0) <= at:
            begun.append(stage)
        began += span
    engine = "vllm" if any(stage.stage == "started" for stage in begun) else None
    return Starting(at=micro_time(ASKED), engine=engine, profile="cpu", quantization="none", stages=begun)


@dataclass(frozen=True)
class Error:
    """How wrong an estimate was at one moment of one start."""

    told: float
    true: float

    @property
    def share(self) -> float:
        return abs(self.told - self.true) / self.true


def measure(estimate: Estimate, past: Sequence[Spans], start: Spans, seed: int) -> Iterator[Error]:
    """The estimate at every whole second of `start` while one second or more remains; `past`: the starts before it.

    The news of a stage is 0.1 to 1.2 s old when it reaches the router: the operator asks the pod once a second.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
    delays = [chance.uniform(0.1, 1.2) for _ in range(len(start) + 1)]
    total = whole(start)
    known, seen = [cold_start(spans) for spans in past[-KEPT:]], stages(start)
    for second in range(int(total - 1.0) + 1):
        record = waking(known, under_way(start, second, delays, seen))
        told = estimate(record, Moment(ASKED + second, float(second)))
        assert told is not None
        yield Error(told, total - second)


def over(estimate: Estimate, kind: Kind, histories: int = 8, count: int = 12) -> list[Error]:
    """The errors over several histories of a kind, from the fourth start of each on."""
    found: list[Error] = []
    for seed in range(histories):
        row = kind.starts(seed, count)
        for number in range(KNOWN, count):
            found += measure(estimate, row[:number], row[number], seed * 100 + number)
    return found


def p90(errors: Sequence[Error]) -> float:
    """The relative error that nine in ten do not exceed."""
    return sorted(error.share for error in errors)[math.ceil(0.9 * len(errors)) - 1]
