"""A batch and other callers of one engine, simulated: how much slower they become, and what the batch gets done."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from dormouse_router.batch.sharing import PROBE_CALLS, PROBE_EVERY, SLOWER, STEP_CALLS, Sharing
from dormouse_router.batch.window import Window
from dormouse_router.dataplane.lane import Lane

TOKENS = 100
ALONE, SECONDS, REST = 60.0, 120.0, 20.0


class World:
    """An engine of `slots`, in which a call takes the longer the more of them are in use; others go first."""

    def __init__(self, slots: int, seconds: float, crowding: float, seed: int = 1) -> None:
        """`crowding`: how much longer than `seconds` a call takes where all slots are in use."""
        self.slots, self.seconds, self.crowding = slots, seconds, crowding
        self.window, self.lane = Window(), Lane(("default", "model"))
        self.now, self.answered = 0.0, 0
        self.took: list[float] = []
        """Of others' calls."""
        self.batch = False
        self._chance = random.Random(seed)  # noqa: S311 - noise, no secret
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: list[tuple[int, int, float]] = []
        self._used = self._low = 0

    def begin(self) -> None:
        self.batch = True
        self._pump()

    def calls(self, rate: float, seconds: float) -> list[float]:
        """Others call so often, at random. What their calls took."""
        self.took = []
        until = self.now + seconds

        def call() -> None:
            self._ask(0)
            after = self.now + self._chance.expovariate(rate)
            if after < until:
                self._at(after, call)

        call()
        self.run(until + 1.0)
        return self.took

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
        self.now = until

    def _at(self, when: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), happens))

    def _ask(self, priority: int) -> None:
        heapq.heappush(self._waiting, (priority, next(self._numbers), self.now))
        self._serve()

    def _serve(self) -> None:
        while self._waiting and self._used < self.slots:
            priority, _, sent = heapq.heappop(self._waiting)
            self._used += 1
            full = (self._used - 1) / max(1, self.slots - 1)
            seconds = self.seconds * (1 + self.crowding * full) * self._chance.lognormvariate(0, 0.1)
            self._at(self.now + seconds, lambda p=priority, s=sent: self._done(p, s))  # type: ignore[misc]

    def _done(self, priority: int, sent: float) -> None:
        self._used -= 1
        if priority == 0:
            self.took.append(self.now - sent)
            self.lane.told(self.now - sent, TOKENS, self.now)
        else:
            self._low -= 1
            self.answered += 1
            self.window.answered(self.now, TOKENS)
            if (pace := self.lane.paced_at(self.now)) is not None:
                self.window.others(self.now, pace)
            self._pump()
        self._serve()

    def _pump(self) -> None:
        while self.batch and self._low < self.window.size:
            self._low += 1
            self._ask(100)


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


CASES = [(128, 0.2, 1.0, 5.0), (128, 0.2, 3.0, 5.0), (64, 2.0, 1.3, 5.0), (16, 0.2, 1.0, 5.0), (8, 0.2, 1.0, 5.0)]


@pytest.mark.parametrize(("slots", "seconds", "crowding", "rate"), CASES)
def test_their_calls_stay_within_one_and_a_half(slots: int, seconds: float, crowding: float, rate: float) -> None:
    """Whether a batch begins beside them or they come to one, and however long it goes on."""
    world = World(slots, seconds, crowding)
    alone = p95(world.calls(rate, ALONE))
    world.begin()
    begun = p95(world.calls(rate, SECONDS))
    world.run(world.now + REST)
    joined = p95(world.calls(rate, SECONDS))
    late = p95(world.calls(rate, 10 * SECONDS))
    assert max(begun, joined, late) <= 1.5 * alone


@pytest.mark.parametrize(("slots", "seconds", "crowding", "rate"), CASES[:3])
def test_the_batch_gets_what_they_do_not_need(slots: int, seconds: float, crowding: float, rate: float) -> None:
    """Of the slots about as many as make a call SLOWER of what it takes alone."""
    world = World(slots, seconds, crowding)
    world.calls(rate, ALONE)
    world.begin()
    world.calls(rate, SECONDS)
    before = world.answered
    world.calls(rate, 4 * SECONDS)
    used = (SLOWER - 1) / crowding * slots - rate * seconds
    assert (world.answered - before) / (4 * SECONDS) >= 0.5 * used / (seconds * SLOWER)


def test_whoever_does_not_suffer_costs_a_batch_nothing() -> None:
    world = World(64, 0.2, 0.0)
    world.begin()
    world.run(60.0)
    before, alone = world.answered, world.window.size
    world.calls(5.0, SECONDS)
    assert world.window.size >= 64
    assert world.window.size <= alone
    assert world.answered - before >= 0.7 * 64 / 0.2 * SECONDS


# ---------------------------------------------------------------------- step by step


def told(sharing: Sharing, pace: float, size: int, calls: int, now: float) -> int | None:
    """Of so many calls one after the other, each a little else; the first word."""
    words = (sharing.heard(now, pace * (1 + number * 1e-6), size) for number in range(calls))
    return next((word for word in words if word is not None), None)


def test_they_are_left_nearly_alone_first_where_a_batch_was_there_before() -> None:
    sharing = Sharing()
    assert sharing.came(0.0, 0.04, 256, untouched=False) == 2
    assert told(sharing, 0.02, 2, PROBE_CALLS - 1, 1.0) is None, "too few say nothing"
    assert told(sharing, 0.02, 2, 1, 1.0) == 64
    assert told(sharing, 0.03, 64, STEP_CALLS, 2.0) == 32, "half more is twice what they may take"
    assert told(sharing, 0.0225, 32, STEP_CALLS, 3.0) == 41
    assert told(sharing, 0.0250, 41, STEP_CALLS, 4.0) == 35


def test_what_they_took_before_the_first_line_is_what_they_take_alone() -> None:
    sharing = Sharing()
    assert sharing.came(0.0, 0.02, 16, untouched=True) == 4
    assert told(sharing, 0.0200001, 4, STEP_CALLS, 1.0) == 6
    assert told(sharing, 0.0400001, 6, STEP_CALLS, 2.0) == 3, "never less than half at once"


def test_what_they_take_alone_is_asked_again_now_and_then() -> None:
    sharing = Sharing()
    sharing.came(0.0, 0.02, 16, untouched=True)
    assert told(sharing, 0.04, 64, STEP_CALLS, PROBE_EVERY) == 2
    assert told(sharing, 0.041, 2, PROBE_CALLS, PROBE_EVERY + 1.0) == 64
    assert told(sharing, 0.05, 64, STEP_CALLS, PROBE_EVERY + 2.0) == 72, "their prompts are others now"


def test_of_few_lines_each_one_counts() -> None:
    """One line makes their calls 0.01 s per token slower: two do it twice, none would not."""
    sharing = Sharing()
    sharing.came(0.0, 0.04, 8, untouched=False)
    assert told(sharing, 0.03, 1, PROBE_CALLS, 1.0) == 2
    assert told(sharing, 0.04, 2, STEP_CALLS, 2.0) == 1, "0.02 without us, so 0.025 is what they may take"


def test_who_calls_seldom_keeps_nothing_waiting_for_long() -> None:
    sharing = Sharing()
    sharing.came(0.0, 0.04, 64, untouched=False)
    assert sharing.heard(19.0, 0.02, 1) is None
    assert sharing.heard(20.0, 0.02, 1) == 16
