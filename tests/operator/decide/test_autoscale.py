"""How many pods a load needs: bursts, their ends, noise, and what is not known."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_operator.decide.autoscale import CALM_SECONDS, Need, calm_seconds, need, pods
from dormouse_operator.observed import Pressure, Sample

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


def telling(*ticks: tuple[int, int, int, float]) -> list[Sample]:
    """(load, engines, waiting in them, cache) of one tick after the other; 0 engines: nothing is known."""
    told = [Pressure(engines, waiting, cache) if engines else None for _, engines, waiting, cache in ticks]
    return [Sample(float(TICK * n), tick[0], told[n]) for n, tick in enumerate(ticks)]


CALM_TICK = (6, 1, 0, 0.2)
QUEUES = (6, 1, 2, 0.2)
"""Six are in flight, less than the seven that are assumed, and the engine has room for four."""


@pytest.mark.parametrize(
    ("ticks", "expected"),
    [
        pytest.param([CALM_TICK] * 10, 1, id="engines without a queue"),
        pytest.param([CALM_TICK] * 9 + [QUEUES], 1, id="a queue at one tick"),
        pytest.param([CALM_TICK] * 8 + [QUEUES] * 2, 3, id="at two: and four is what one carries"),
        pytest.param([CALM_TICK] * 9 + [(6, 1, 0, 0.86)], 2, id="a cache that is nearly full"),
        pytest.param([CALM_TICK] * 9 + [(6, 1, 0, 0.85)], 1, id="a cache that is not"),
        pytest.param([(6, 0, 0, 0.0)] * 10, 1, id="engines that do not tell"),
        pytest.param([QUEUES] * 3, 3, id="what one carries is known before all has settled"),
    ],
)
def test_engines_that_queue_get_another_pod(ticks: list[tuple[int, int, int, float]], expected: int) -> None:
    assert pods(1, need(telling(*ticks), SLOTS, CALM)) == expected


def test_nothing_more_is_asked_for_while_a_pod_starts_or_has_just_come() -> None:
    full = (6, 1, 0, 0.9)
    strained = need(telling(*[full] * 10), SLOTS, CALM)
    assert strained.strained == 1
    assert pods(1, strained) == 2
    assert pods(2, strained) == max(2, strained.pods), "the second one starts"
    came = need(telling(*[full] * 10, *[(6, 2, 0, 0.9)] * 3), SLOTS, CALM)
    assert came.strained == 0
    settled = need(telling(*[full] * 10, *[(6, 2, 0, 0.9)] * 6), SLOTS, CALM)
    assert pods(2, settled) == 3


def test_no_pod_goes_before_the_engines_have_been_calm_for_as_long() -> None:
    quiet = [(2, 4, 0, 0.1)] * 20
    assert need(telling(*[(2, 4, 0, 0.9)], *quiet), SLOTS, CALM).least == 4
    assert need(telling(*[(2, 4, 0, 0.9)], *quiet, *quiet), SLOTS, CALM).least == 1


def test_what_a_pod_carries_is_remembered_as_far_as_the_samples_go() -> None:
    queued, later = [(20, 2, 12, 0.3)] * 3, [(8, 2, 0, 0.3)] * 100
    assert need(telling(*queued, *later), SLOTS, CALM).pods == 3, "four each, of which 70 % shall be filled"
    assert need(telling(*later), SLOTS, CALM).pods == 2


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 5), st.integers(0, 40), st.floats(0, 1)), min_size=1))
def test_the_engines_never_make_it_fewer(ticks: list[tuple[int, int, int, float]]) -> None:
    told = telling(*ticks)
    untold = [Sample(sample.at, sample.load) for sample in told]
    with_, without = need(told, SLOTS, CALM), need(untold, SLOTS, CALM)
    assert with_.pods >= without.pods
    assert all(pods(now, with_) >= pods(now, without) for now in range(6))
