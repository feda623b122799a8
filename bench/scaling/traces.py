"""Arrivals over time: a rate that changes, and Poisson arrivals at it (thinning, Lewis and Shedler 1979), by a seed."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HOUR = 3600.0


@dataclass(frozen=True)
class Trace:
    """Requests per second as a function of the time, never above `most`."""

    name: str
    seconds: float
    rate: Callable[[float], float]
    most: float

    def arrivals(self, seed: int) -> Iterator[float]:
        """Times of arrival, rising."""
        dice = random.Random(seed)  # noqa: S311 - a simulation
        now = 0.0
        while (now := now + dice.expovariate(self.most)) < self.seconds:
            if dice.random() * self.most < self.rate(now):
                yield now


def _bursts(now: float) -> float:
    """A quiet service that is called twenty times as much for a minute, every ten."""
    return 10.0 if now % 600 < 60 else 0.5


def _ramp(now: float) -> float:
    """From nothing to twelve per second in half an hour, and back."""
    return 12.0 * (1 - abs(now / 1800 - 1))


def _day(now: float) -> float:
    """A working day in two hours: hardly anybody at night."""
    return 0.1 + 5.0 * (1 - math.cos(2 * math.pi * now / (2 * HOUR)))


def _rare(now: float) -> float:
    """Nobody for a quarter of an hour, then a few."""
    return 0.2 if now % 1200 > 900 else 0.0


TRACES = (
    Trace("bursts", 2 * HOUR, _bursts, 10.0),
    Trace("ramp", HOUR, _ramp, 12.0),
    Trace("day", 2 * HOUR, _day, 10.1),
    Trace("rare", 2 * HOUR, _rare, 0.2),
)
