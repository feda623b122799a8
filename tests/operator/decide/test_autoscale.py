"""How many pods a load needs: bursts, their ends, noise, and what is not known."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.decide.autoscale import CALM_SECONDS, Need, calm_seconds, need, pods
from dormouse_operator.observed import Sample

SLOTS = 10
"""Of which 7 shall be filled."""
CALM = 60.0
TICK = 2


def samples(*pieces: tuple[int, int]) -> list[Sample]:
    """(seconds, load) after each other, one sample every two seconds."""
    loads = [load for seconds, load in pieces for _ in range(seconds // TICK)]
    return [Sample(float(TICK * at), load) for at, load in enumerate(loads)]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([(200, 0)], Need(0, 0, True)),
        ([(200, 7)], Need(1, 1, True)),
        ([(200, 8)], Need(2, 2, True)),
        ([(2, 70)], Need(10, 10, False)),
        ([(200, 7), (2, 70)], Need(4, 4, True)),  # a third of the short window
        ([(200, 7), (6, 70)], Need(10, 10, True)),  # all of it: no minute is waited for
        ([(200, 70), (6, 7)], Need(1, 10, True)),  # the burst is over, the calm has begun
        ([(200, 70), (60, 7)], Need(1, 10, True)),
        ([(200, 70), (130, 7)], Need(1, 1, True)),
        ([(200, 70), (10, 60)], Need(10, 10, True)),  # no more than noise: the long mean counts
        ([(200, 70), (80, 0), (2, 7)], Need(1, 1, True)),
        ([(40, 7)], Need(1, 1, False)),
    ],
)
def test_need(pieces: Sequence[tuple[int, int]], expected: Need) -> None:
    assert need(samples(*pieces), SLOTS, CALM) == expected


@pytest.mark.parametrize(
    ("now", "wanted", "expected"),
    [
        (0, Need(3, 3, False), 3),
        (2, Need(3, 3, True), 3),
        (8, Need(1, 1, False), 8),
        (8, Need(1, 1, True), 4),
        (8, Need(1, 6, True), 6),
        (8, Need(1, 9, True), 8),
        (3, Need(0, 0, True), 2),
        (1, Need(0, 0, True), 1),
    ],
)
def test_pods(now: int, wanted: Need, expected: int) -> None:
    assert pods(now, wanted) == expected


@pytest.mark.parametrize(
    ("cold_start", "seconds"),
    [(None, CALM_SECONDS[1]), (5.0, CALM_SECONDS[0]), (60.0, 120.0), (9999.0, CALM_SECONDS[1])],
)
def test_the_calm_follows_the_cold_start(cold_start: float | None, seconds: float) -> None:
    assert calm_seconds(cold_start) == seconds


@given(st.lists(st.integers(0, 500), min_size=1, max_size=200), st.integers(1, 64))
def test_as_many_as_are_needed_and_never_more_than_ever_were(loads: list[int], slots: int) -> None:
    made = [Sample(float(TICK * at), load) for at, load in enumerate(loads)]
    found = need(made, slots, CALM)
    assert 0 <= found.pods <= found.least <= math.ceil(max(loads) / max(1.0, slots * 0.7))
    if loads[-1] and all(load == loads[-1] for load in loads[-30:]):
        assert found.pods == math.ceil(loads[-1] / max(1.0, slots * 0.7))
