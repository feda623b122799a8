"""The rules that are compared: the operator's own, Knative's defaults, and a ten-minute mean. All see the same samples.

Each is asked at its own interval with the load (in flight and waiting) of every tick so far, and the pods there are.
Knative's and the mean's are written down from what their projects document.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from dormouse_operator.decide import autoscale
from dormouse_operator.observed import Sample

IDLE_SECONDS = 300.0
"""Dormouse: the lease's, from the last request on."""


class Rule(Protocol):
    """How many pods there shall be."""

    name: str
    every: float

    def pods(self, samples: Sequence[Sample], now: int) -> int:
        """`samples` are of one tick each, the oldest first; `now` counts pods that start, too."""
        ...


@dataclass
class Dormouse:
    """The operator's decision, with the lease that keeps one pod for a while."""

    slots: int
    cold_start: float
    name: str = "dormouse"
    every: float = 2.0
    asks: bool = True
    """Whether the engines tell of their own queues."""

    def pods(self, samples: Sequence[Sample], now: int) -> int:
        if not self.asks:
            samples = [replace(sample, pressure=None) for sample in samples]
        calm = autoscale.calm_seconds(self.cold_start)
        end = samples[-1].at
        if all(sample.load == 0 for sample in samples if sample.at > end - IDLE_SECONDS):
            return 0
        return max(1, autoscale.pods(now, autoscale.need(samples, self.slots, calm)))


@dataclass
class Knative:
    """KPA as it comes: 60 s and 6 s windows, target 70 % of the slots, panic at 200 %, ten times up and half down per
    tick at most, to zero 30 s after the window is empty."""

    slots: int
    name: str = "Knative"
    every: float = 2.0
    _panic_until: float = field(default=-1.0, init=False)
    _panic_most: int = field(default=0, init=False)

    def pods(self, samples: Sequence[Sample], now: int) -> int:
        end, target = samples[-1].at, self.slots * 0.7
        stable, panic = _mean(samples, 60.0), _mean(samples, 6.0)
        if stable == 0 and all(sample.load == 0 for sample in samples if sample.at > end - 90):
            return 0
        most, least = max(1, now) * 10, now // 2
        wanted = min(most, max(least, math.ceil(stable / target)))
        hurried = min(most, max(least, math.ceil(panic / target)))
        if hurried >= 2 * max(1, now):
            self._panic_until = end + 60
        if end < self._panic_until:
            self._panic_most = max(self._panic_most, hurried, now)
            return max(1, self._panic_most)
        self._panic_most = 0
        return max(1, wanted)


@dataclass
class Mean:
    """KubeAI's: the mean load of ten minutes by the target, every ten seconds; down after 3 such answers in a row."""

    slots: int
    name: str = "10-minute mean"
    every: float = 10.0
    _lower: deque[int] = field(default_factory=lambda: deque(maxlen=3), init=False)

    def pods(self, samples: Sequence[Sample], now: int) -> int:
        wanted = math.ceil(_mean(samples, 600.0) / self.slots)
        if samples[-1].load > 0:
            wanted = max(1, wanted)  # whoever waits for a model at zero starts it
        self._lower.append(wanted)
        if wanted >= now:
            return wanted
        settled = len(self._lower) == self._lower.maxlen and max(self._lower) < now
        return max(self._lower) if settled else now


def _mean(samples: Sequence[Sample], window: float) -> float:
    end = samples[-1].at
    recent = [sample.load for sample in samples if sample.at > end - window]
    return sum(recent) / len(recent)
