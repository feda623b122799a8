"""The window against engines that are simulated: no clock but theirs."""

import heapq
from collections.abc import Callable

import pytest

from dormouse_router.batch.window import MOST, QUIET, Window

TOKENS = 100


class Engine:
    """So many slots, each of which answers a line in `seconds`; what finds none free waits. Beyond `refuses`, 429."""

    def __init__(self, slots: int, seconds: float = 0.5, refuses: int = 10**9) -> None:
        self.slots, self.seconds, self.refuses = slots, seconds, refuses
        self.now = 0.0
        self.answered = 0
        self._ends: list[tuple[float, float]] = []
        self._free: list[float] = []

    @property
    def in_flight(self) -> int:
        return len(self._ends)

    def run(self, window: Window, until: float, also: Callable[[float], None] = lambda now: None) -> None:
        while self.now < until:
            while self.in_flight < window.size:
                if self.in_flight >= self.refuses:
                    window.pushed_back(self.now, self.now)
                    break
                self._send()
            self.now, _ = heapq.heappop(self._ends)
            self.answered += 1
            window.answered(self.now, TOKENS)
            also(self.now)

    def _send(self) -> None:
        begins = self.now
        if len(self._free) >= self.slots:
            begins = max(begins, heapq.heappop(self._free))
        ends = begins + self.seconds
        heapq.heappush(self._free, ends)
        heapq.heappush(self._ends, (ends, self.now))


@pytest.mark.parametrize("slots", [1, 2, 8, 16, 32, 100, 200])
def test_it_stays_around_twice_the_slots_of_the_engine(slots: int) -> None:
    window, engine = Window(), Engine(slots)
    engine.run(window, 300.0)
    assert slots <= window.size <= max(4 * slots, 40), "below it slots idle, far above others wait"
    assert engine.answered >= 0.93 * 300.0 / engine.seconds * slots


def test_it_never_grows_beyond_its_bound() -> None:
    window, engine = Window(most=48), Engine(1000)
    engine.run(window, 120.0)
    assert window.size == 48
    assert Window(first=MOST * 2).size == MOST


def test_it_follows_engines_that_come() -> None:
    window, engine = Window(), Engine(16)
    engine.run(window, 120.0)
    before = window.size
    engine.slots = 128
    engine.run(window, 2000.0)
    assert window.size > 2 * before


def test_push_back_halves_it_once_a_round_and_it_comes_back() -> None:
    window = Window(first=64)
    for _ in range(64):
        window.pushed_back(10.0, 9.0)
    assert window.size == 32, "lines sent before it shrank say nothing new"
    window.pushed_back(11.0, 10.5)
    assert window.size == 16
    engine = Engine(64)
    engine.run(window, 200.0)
    assert window.size > 48


def test_it_settles_below_what_is_refused() -> None:
    window, engine = Window(), Engine(64, refuses=40)
    engine.run(window, 120.0)
    assert 10 <= window.size <= 41
    assert engine.answered >= 0.6 * 120.0 / engine.seconds * 40


@pytest.mark.parametrize("first", [1, 2, 7])
def test_it_never_falls_below_one(first: int) -> None:
    window = Window(first=first)
    for at in range(20):
        window.pushed_back(float(at), float(at))
    assert window.size == 1


def test_it_is_again_what_it_was_when_others_have_gone() -> None:
    window, engine = Window(), Engine(64)
    engine.run(window, 60.0)
    alone = window.size
    for step in range(20):
        window.others(engine.now + step, 0.02 * (1 + step))
    engine.now += 20.0
    small = window.size
    engine.run(window, engine.now + QUIET + 10.0)
    assert small < alone // 4
    assert alone <= window.size <= 2 * alone


def test_what_others_do_while_it_climbs_does_not_end_the_climb() -> None:
    window, engine = Window(), Engine(64)
    engine.run(window, 1.0)
    window.others(engine.now, 0.02)
    assert window.size <= 8
    engine.run(window, engine.now + QUIET + 60.0)
    assert window.size >= 64
