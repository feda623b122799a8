"""How many pods a load needs: two windows up, one long calm down. Pure, and nothing is remembered between two answers.

The load is requests in flight and held at all routers, one sample every tick. Its mean over STABLE_SECONDS sizes what
lasts, its mean over PANIC_SECONDS what has just begun or ended (the windows of Knative's autoscaler). Pods are taken
away only when the same question, asked at every tick of the last `calm` seconds, would have had that answer every
time: a pod that is wanted again within its own cold start is cheaper kept. `bench/autoscale.py` compares.

What a pod carries is an assumption (slots), and the engines know better: long contexts fill the cache long before the
slots are. Where they queue requests themselves, or their cache is nearly full, there is one more pod, and no fewer; and
what they got done meanwhile is what a pod is taken to carry, as far back as the samples go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from dormouse_operator.observed import Sample

TICK_SECONDS = 2.0
"""Between two answers while there are pods that may not be needed."""
STABLE_SECONDS = 60.0
PANIC_SECONDS = 6.0
UTILISATION = 0.7
"""Of a pod's slots that the load shall fill: what comes while the next pod starts has room."""
PANIC_RATIO = 1.5
"""Of the two means, from which on their difference is a burst's beginning or end and no noise."""
REACH = 64
"""Samples of which the last SETTLED_SECONDS are some."""
CALM_SHARE = 2.0
"""Calm before pods go, in cold starts."""
CALM_SECONDS = (60.0, 600.0)
"""Its least, and its most: also where no start has been measured yet."""
CACHE_FULL = 0.85
"""Share of the KV cache from which on a longer answer may push another out."""
SETTLED_SECONDS = 10.0
"""After a pod came: what waits at the others waits there still, and says nothing of the next."""
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
    strained: int = 0
    """So many engines are there, and are too few; 0 where they are enough, or nobody knows."""


def calm_seconds(cold_start: float | None) -> float:
    """How long fewer pods must have been enough before there are fewer."""
    least, most = CALM_SECONDS
    return most if cold_start is None else min(most, max(least, CALM_SHARE * cold_start))


def history_seconds(calm: float) -> float:
    """How far back samples count."""
    return calm + STABLE_SECONDS


def need(samples: Sequence[Sample], slots: int, calm: float) -> Need:
    """What `samples` (oldest first, at least one) ask for, where a pod serves `slots` requests at once, or fewer."""
    room = max(1.0, min(float(slots), _carried(samples)) * UTILISATION)
    stable, panic = _means(samples, STABLE_SECONDS), _means(samples, PANIC_SECONDS)
    wanted = [math.ceil(_telling(*means) / room) for means in zip(stable, panic, strict=True)]
    since = samples[-1].at - calm
    lately = [max(pods, _floor(sample)) for sample, pods in zip(samples, wanted, strict=True) if sample.at >= since]
    return Need(wanted[-1], max(lately), samples[0].at <= since, _strained(samples))


def pods(now: int, wanted: Need) -> int:
    """How many there shall be where there are `now`: more at once; fewer after a calm, and by half at most."""
    if now and wanted.strained >= now:  # where one more starts already, it is waited for
        return max(wanted.pods, now + 1)
    if wanted.pods >= now:
        return wanted.pods
    if not wanted.calm:
        return now
    return min(now, max(wanted.least, math.ceil(now / STEP_DOWN)))


def _floor(sample: Sample) -> int:
    """Fewer pods than there were would have been too few at that tick."""
    return sample.pressure.engines if sample.pressure is not None and _full(sample) else 0


def _full(sample: Sample) -> bool:
    pressure = sample.pressure
    return pressure is not None and (pressure.waiting > 0 or pressure.cache > CACHE_FULL)


def _carried(samples: Sequence[Sample]) -> float:
    """The most requests that an engine has worked on while it could take no more; infinite where that never was."""
    most = 0.0
    for before, sample in pairwise(samples):
        pressure = sample.pressure
        if pressure is None or not (_full(before) and _full(sample)):
            continue
        share = min(1.0, CACHE_FULL / pressure.cache) if pressure.cache else 1.0
        most = max(most, (sample.load - pressure.waiting) / max(1, pressure.engines) * share)
    return most or math.inf


def _strained(samples: Sequence[Sample]) -> int:
    """Engines that are too few: for two ticks (a full cache: at once), and not just after one of them came."""
    last, since = samples[-1], samples[-1].at - SETTLED_SECONDS
    recent = [sample for sample in samples[-REACH:] if sample.at >= since]
    engines = {sample.pressure.engines if sample.pressure is not None else 0 for sample in recent}
    if last.pressure is None or len(engines) > 1 or samples[0].at > since or len(recent) < 2:
        return 0
    full = last.pressure.cache > CACHE_FULL or (_full(last) and _full(recent[-2]))
    return last.pressure.engines if full else 0


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
