"""Hours of three models on one device, decided by nothing but `eviction.decide`: who waits how long, and who swaps.

The world here is the least that has callers, doors, pods and a scheduler; `test_turns.py` plays the same with the whole
operator, for minutes.
"""

import random
from dataclasses import dataclass, field

import pytest

from dormouse_operator.decide.eviction import decide
from dormouse_operator.decide.pool import STARVED_SECONDS, Contender, Key, Traffic

TICK, POLL, STAY, IDLE, ENDING = 0.5, 2.0, 10.0, 300.0, 1.0
LONGEST_CALL, HOUR = 8.0, 3600.0


@dataclass
class Model:
    """A model with its callers. Times in seconds; `calls` are (arrival, seconds it takes)."""

    name: str
    start: float
    every: float
    """Mean seconds between calls."""
    key: Key = ("", "")
    held: list[tuple[float, float]] = field(default_factory=list)
    flying: list[float] = field(default_factory=list)
    granted: bool = False
    placed: bool = False
    ready_at: float | None = None
    ending_until: float = 0.0
    asked: float | None = None
    woken: float | None = None
    leaving: float | None = None
    left: float | None = None
    last_used: float = -1000.0
    traffic: Traffic | None = None
    waits: list[float] = field(default_factory=list)
    starts: int = 0
    priority: int = 0
    waiting: float | None = None
    """Since when it is in the line, until it serves."""

    def wanted(self, now: float) -> bool:
        lasts = now < self.last_used + IDLE and (self.left is None or self.last_used > self.left)
        return bool(self.held or self.flying) or lasts

    def pods(self, now: float) -> int:
        return int(self.granted or now < self.ending_until)

    def contender(self, now: float) -> Contender:
        ready = self.granted and self.placed and self.ready_at is not None and now >= self.ready_at
        holds = self.placed or now < self.ending_until
        return Contender(
            key=self.key,
            profile="p",
            resource="gpu",
            limit=2,
            wanted=self.wanted(now),
            granted=self.granted,
            asked=self.asked,
            nodes={"n": 1} if holds else {},
            pods=self.pods(now),
            homeless=self.granted and not self.placed,
            ready_at=self.ready_at if ready else None,
            traffic=self.traffic,
            last_used=self.last_used,
            leaving=self.leaving,
            woken=self.woken,
            left=self.left if not self.granted else None,
            start_seconds=self.start,
            priority=self.priority,
            waiting=self.waiting,
        )


class World:
    """One device, and a clock."""

    def __init__(self, seed: int, models: list[Model]) -> None:
        self.now, self.random, self.models = 0.0, random.Random(seed), models  # noqa: S311 - arrivals, no secrets
        for model in models:
            model.key = ("ns", model.name)
        self.arrivals = {m.name: self.random.expovariate(1 / m.every) for m in models}

    def run(self, seconds: float) -> None:
        while self.now < seconds:
            self.now += TICK
            for model in self.models:
                self._callers(model)
            if self.now % POLL < TICK:
                self._poll()
            # models are looked at in any order, and each look sees what the ones before it did
            for model in self.random.sample(self.models, len(self.models)):
                self._look(model)
            self._schedule()

    def _callers(self, m: Model) -> None:
        while self.arrivals[m.name] <= self.now:
            m.held.append((self.arrivals[m.name], self.random.uniform(0.1, LONGEST_CALL)))
            self.arrivals[m.name] += self.random.expovariate(1 / m.every)
        m.flying = [end for end in m.flying if end > self.now]
        if m.held or m.flying:
            m.last_used = self.now
        if m.granted and m.ready_at is not None and self.now >= m.ready_at and m.leaving is None:
            m.waits += [self.now - since for since, _ in m.held]
            m.waiting = None
            m.flying += [self.now + takes for _, takes in m.held]
            m.held = []

    def _poll(self) -> None:
        for m in self.models:
            m.traffic = Traffic(self.now, len(m.flying), len(m.held), self.now - m.last_used)

    def _look(self, m: Model) -> None:
        turn = decide([other.contender(self.now) for other in self.models], self.now, STAY)[m.key]
        wanted = m.wanted(self.now)
        if m.granted and (not turn.go or not wanted):
            assert not m.flying, f"{m.name} is cut at {self.now}"
            m.left = self.now if turn.leaving else None
            m.granted, m.ready_at, m.leaving, m.woken = False, None, None, None
            m.ending_until = self.now + ENDING if m.placed else 0.0
            m.placed = False
        elif turn.leaving:
            m.leaving = m.leaving if m.leaving is not None else self.now
        else:
            m.leaving = None
        if not m.granted and wanted and turn.go:
            m.granted, m.woken, m.left, m.starts = True, self.now, None, m.starts + 1
        m.waiting = m.waiting or m.asked if wanted else None
        m.asked = None if m.granted or not wanted else m.asked if m.asked is not None else self.now

    def _schedule(self) -> None:
        free = not any(m.placed or self.now < m.ending_until for m in self.models)
        for m in self.models:
            if m.granted and not m.placed and free:
                m.placed, free, m.ready_at = True, False, self.now + m.start
        assert sum(m.placed for m in self.models) <= 1


def stay_of(m: Model) -> float:
    return max(STAY, 3 * m.start)


@pytest.mark.parametrize("seed", range(2))
def test_a_busy_small_one_and_two_others_all_progress_for_hours(seed: int) -> None:
    models = [Model("small", start=2.0, every=0.7), Model("large", start=20.0, every=90.0), Model("mid", 6.0, 45.0)]
    world = World(seed, models)
    hours = 2 * HOUR
    world.run(hours)
    # in the worst case all others come first, each with its start, its stay, its last calls and its end
    turn = {m.name: m.start + stay_of(m) + LONGEST_CALL + ENDING + 3 * POLL + 4.0 for m in models}
    for m in models:
        others = sum(seconds for name, seconds in turn.items() if name != m.name)
        assert len(m.waits) > hours / m.every * 0.8
        assert max(m.waits) <= others + m.start + turn[m.name], f"{m.name} starves"
    starts = sum(m.starts for m in models)
    # nobody is turned out before its stay or before nobody calls it
    assert starts <= hours / 8.0
    assert sum(m.starts * m.start for m in models) <= 0.45 * hours, "it does nothing but swap"


@pytest.mark.parametrize("seed", range(2))
def test_two_that_are_always_busy_take_turns_and_spend_their_time_serving(seed: int) -> None:
    models = [Model("a", start=5.0, every=0.5), Model("b", start=5.0, every=0.5)]
    world = World(seed, models)
    world.run(HOUR)
    starts = sum(m.starts for m in models)
    assert HOUR / (5 + 15 + LONGEST_CALL + 12) <= starts <= HOUR / (5 + 15)
    assert abs(models[0].starts - models[1].starts) <= 1
    assert all(max(m.waits) <= 60 for m in models)


def test_one_alone_is_never_disturbed() -> None:
    models = [Model("a", start=5.0, every=20.0), Model("b", start=5.0, every=1e9)]
    world = World(1, models)
    world.run(HOUR)
    assert models[0].starts == 1
    assert max(models[0].waits[1:]) <= TICK


def test_a_higher_priority_waits_for_no_long_turn_and_a_lower_one_is_served_all_the_same() -> None:
    urgent = Model("urgent", start=5.0, every=60.0, priority=10)
    models = [Model("low", start=20.0, every=0.7), Model("low-too", start=20.0, every=0.7), urgent]
    world = World(1, models)
    world.run(HOUR)
    # a start that is under way, the least stay, the last calls, the end, and its own start
    assert max(urgent.waits) <= 20.0 + STAY + LONGEST_CALL + ENDING + 3 * POLL + 4.0 + urgent.start
    assert all(max(m.waits) <= 4 * (20.0 + 60.0) for m in models)


def test_a_lower_one_does_not_starve_beside_higher_ones_that_are_always_busy() -> None:
    low = Model("low", start=5.0, every=30.0, priority=-5)
    models = [Model("a", start=5.0, every=0.5), Model("b", start=5.0, every=0.5), low]
    world = World(2, models)
    world.run(2 * HOUR)
    others = 2 * (5.0 + 15.0 + LONGEST_CALL + ENDING + 3 * POLL)
    assert STARVED_SECONDS * 0.8 <= max(low.waits) <= STARVED_SECONDS + others + low.start
    assert low.starts >= 2 * HOUR / (STARVED_SECONDS + 2 * others)
    assert all(max(m.waits) <= 120 for m in models[:2])
