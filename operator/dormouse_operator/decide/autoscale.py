"""How many pods a load needs: two windows up, one long calm down. Pure, and nothing is remembered between two answers.

The load is requests in flight and held at all routers, one sample every tick. Its mean over STABLE_SECONDS sizes what
lasts, its mean over PANIC_SECONDS what has just begun or ended (the windows of Knative's autoscaler). Pods are taken
away only when the same question, asked at every tick of the last `calm` seconds, would have had that answer every
time: a pod that is wanted again within its own cold start is cheaper kept. `bench/autoscale.py` compares.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dormouse_operator.observed import Sample

TICK_SECONDS = 2.0
"""Between two answers while there are pods that may not be needed."""
STABLE_SECONDS = 60.0
PANIC_SECONDS = 6.0
UTILISATION = 0.7
"""Of a pod's slots that the load shall fill: what comes while the next pod starts has room."""
PANIC_RATIO = 1.5
"""Of the two means, from which on their difference is a burst's beginning or end and no noise."""
CALM_SHARE = 2.0
"""Calm before pods go, in cold starts."""
CALM_SECONDS = (60.0, 600.0)
"""Its least, and its most: also where no start has been measured yet."""
STEP_DOWN = 2
"""Pods at most halve at a time."""


@dataclass(frozen=True, slots=True)
class Need:
    """What the samples say."""

    pods: int
    """That the load of now needs."""
    least: int
    """Fewer have not been enough at every tick of the calm: as few as may be kept."""
    calm: bool
    """The samples reach back far enough to say so."""


def calm_seconds(cold_start: float | None) -> float:
    """How long fewer pods must have been enough before there are fewer."""
    least, most = CALM_SECONDS
    return most if cold_start is None else min(most, max(least, CALM_SHARE * cold_start))


def history_seconds(calm: float) -> float:
    """How far back samples count."""
    return calm + STABLE_SECONDS


def need(samples: Sequence[Sample], slots: int, calm: float) -> Need:
    """What `samples` (oldest first, at least one) ask for, where a pod serves `slots` requests at once."""
    room = max(1.0, slots * UTILISATION)
    stable, panic = _means(samples, STABLE_SECONDS), _means(samples, PANIC_SECONDS)
    wanted = [math.ceil(_telling(*means) / room) for means in zip(stable, panic, strict=True)]
    since = samples[-1].at - calm
    lately = [pods for sample, pods in zip(samples, wanted, strict=True) if sample.at >= since]
    return Need(wanted[-1], max(lately), samples[0].at <= since)


def pods(now: int, wanted: Need) -> int:
    """How many there shall be where there are `now`: more at once; fewer after a calm, and by half at most."""
    if wanted.pods >= now:
        return wanted.pods
    if not wanted.calm:
        return now
    return min(now, max(wanted.least, math.ceil(now / STEP_DOWN)))


def _telling(stable: float, panic: float) -> float:
    """The mean that tells what is going on: the short one where a burst begins or is over, else the long one."""
    return panic if panic >= PANIC_RATIO * stable or stable >= PANIC_RATIO * panic else stable


def _means(samples: Sequence[Sample], window: float) -> list[float]:
    """At each sample: the mean load of the `window` seconds that end with it, or of as many as there are."""
    means: list[float] = []
    total, first = 0.0, 0
    for index, sample in enumerate(samples):
        total += sample.load
        while samples[first].at <= sample.at - window:
            total -= samples[first].load
            first += 1
        means.append(total / (index - first + 1))
    return means
