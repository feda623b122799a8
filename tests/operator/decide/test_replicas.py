"""How many pods: the lease decides whether, demand decides how many."""

import pytest

from dormouse_api.lease import FOREVER, Wish
from dormouse_operator.decide.autoscale import TICK_SECONDS
from dormouse_operator.decide.replicas import Bounds, Scale, decide
from dormouse_operator.observed import Demand, Sample
from tests.operator.builders import NOW, wish

ONE = Bounds(0, 1, 64, 60)
MANY = Bounds(0, 4, 10, 60)
SEVEN = 7
"""Requests in flight that fill one pod of ten slots as it shall be filled."""


def steady(load: int, seconds: int = 130, before: int | None = None) -> Demand:
    """The same load for a while; another one before, if `before` is given, for as long."""
    loads = [load if before is None else before] * (seconds // 2) + [load] * (seconds // 2)
    return Demand(tuple(Sample(2.0 * at, each) for at, each in enumerate(loads)))


@pytest.mark.parametrize(
    ("held", "bounds", "demand", "pods", "expected"),
    [
        (None, ONE, None, 0, Scale(0, None)),
        (wish(60), ONE, None, 0, Scale(1, NOW + 60)),
        (wish(60, NOW - 60), ONE, None, 1, Scale(0, None)),
        (wish(60, NOW - 59), ONE, None, 1, Scale(1, NOW + 1)),
        (wish(FOREVER), ONE, None, 0, Scale(1, NOW + FOREVER)),
        (None, Bounds(2, 3, 64, 60), None, 0, Scale(2, None)),
        (wish(60), Bounds(2, 3, 64, 60), None, 0, Scale(2, NOW + 60)),
        (wish(60), MANY, None, 3, Scale(3, NOW + TICK_SECONDS)),  # the operator has just started
        (wish(60), MANY, steady(3 * SEVEN), 0, Scale(3, NOW + 60)),
        (wish(60), MANY, steady(3 * SEVEN + 1), 3, Scale(4, NOW + TICK_SECONDS)),
        (wish(60), MANY, steady(999), 1, Scale(4, NOW + 60)),
        (wish(60), MANY, steady(0), 0, Scale(1, NOW + 60)),
        (wish(60), MANY, steady(SEVEN, 20), 4, Scale(4, NOW + TICK_SECONDS)),  # what was before is not known
        (wish(60), MANY, steady(SEVEN), 4, Scale(2, NOW + TICK_SECONDS)),  # not more than half at a time
        (wish(60), MANY, steady(SEVEN), 2, Scale(1, NOW + TICK_SECONDS)),
        (wish(60), ONE, steady(999), 1, Scale(1, NOW + 60)),
        (wish(1, NOW - 9), ONE, steady(1), 1, Scale(1, None)),
        (wish(1, NOW - 9), ONE, steady(0, before=30), 1, Scale(0, None)),
    ],
)
def test_decision(held: Wish | None, bounds: Bounds, demand: Demand | None, pods: int, expected: Scale) -> None:
    assert decide(held, bounds, demand, NOW, pods) == expected
