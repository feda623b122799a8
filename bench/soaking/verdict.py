"""What a soak must show, decided from what was counted. Pure."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

WARM_SECONDS = 300.0
"""Memory counts from here on: until then caches and free lists fill."""
WINDOW_SECONDS = 300.0
"""Garbage in cycles and answers half read make memory a saw with teeth of minutes: medians are over longer."""
GROWTH = 0.05


@dataclass(frozen=True)
class Sample:
    """The router at one moment. Seconds since the load began, bytes that are its own, and what is open."""

    seconds: float
    memory: int
    fds: int
    tasks: int
    connections: int
    in_flight: int
    held: int


@dataclass(frozen=True)
class Rule:
    """One line of the verdict."""

    rule: str
    seen: str
    ok: bool


COUNTS = ("connections", "lanes", "in_flight", "endpoints_in_flight", "held", "held_bytes")
"""What must be zero once every client, engine and model is gone."""


def nothing_left(before: Mapping[str, object], after: Mapping[str, object]) -> list[Rule]:
    """The counts of an idle router before the first model, and after the last."""
    rules = [Rule(f"{name} left", str(after[name]), after[name] == 0) for name in COUNTS]
    rules += [
        Rule(f"{name} as before", f"{before[name]} then {after[name]}", after[name] == before[name])
        for name in ("tasks", "fds")
    ]
    return rules


def memory(samples: list[Sample]) -> Rule:
    """The last five minutes against the first five after the warm-up: medians of the router's own bytes."""
    end = samples[-1].seconds if samples else 0.0
    if end < WARM_SECONDS + 2 * WINDOW_SECONDS:
        return Rule("memory is flat", f"not judged: {end:.0f} s are too short", True)
    first = _median(samples, WARM_SECONDS, WARM_SECONDS + WINDOW_SECONDS)
    last = _median(samples, end - WINDOW_SECONDS, end)
    warm = [sample for sample in samples if sample.seconds >= WARM_SECONDS]
    slope = statistics.linear_regression([s.seconds / 60 for s in warm], [s.memory / 1000 for s in warm]).slope
    growth = last / first - 1
    said = f"{first / 1e6:.1f} to {last / 1e6:.1f} MB, {growth:+.1%}, {slope:+.1f} kB per minute"
    return Rule(f"memory is flat (at most {GROWTH:+.0%})", said, growth <= GROWTH)


def answers(outcomes: Mapping[str, int], unexplained: int, whole: int) -> list[Rule]:
    total = sum(outcomes.values())
    return [
        Rule("some answers were whole", f"{whole} of {total}", whole > 0),
        Rule("unexplained outcomes", str(unexplained), unexplained == 0),
    ]


def _median(samples: list[Sample], since: float, until: float) -> float:
    return statistics.median(sample.memory for sample in samples if since <= sample.seconds <= until)
