"""How many pods: the lease decides whether, demand decides how many."""

import pytest

from dormouse_api.lease import FOREVER, Wish
from dormouse_operator.decide.replicas import Bounds, Scale, decide
from dormouse_operator.observed import Demand
from tests.operator.builders import NOW, wish

ONE = Bounds(0, 1, 64)
MANY = Bounds(0, 4, 10)


@pytest.mark.parametrize(
    ("held", "bounds", "demand", "expected"),
    [
        (None, ONE, None, Scale(0, None)),
        (wish(60), ONE, None, Scale(1, NOW + 60)),
        (wish(60, NOW - 60), ONE, None, Scale(0, None)),
        (wish(60, NOW - 59), ONE, None, Scale(1, NOW + 1)),
        (wish(FOREVER), ONE, None, Scale(1, NOW + FOREVER)),
        (None, Bounds(2, 3, 64), None, Scale(2, None)),
        (wish(60), Bounds(2, 3, 64), None, Scale(2, NOW + 60)),
        (wish(60), MANY, Demand(25, 25), Scale(3, NOW + 60)),
        (wish(60), MANY, Demand(0, 25), Scale(3, NOW + 60)),
        (wish(60), MANY, Demand(999, 999), Scale(4, NOW + 60)),
        (wish(60), MANY, Demand(0, 0), Scale(1, NOW + 60)),
        (wish(60), ONE, Demand(999, 999), Scale(1, NOW + 60)),
        (wish(1, NOW - 9), ONE, Demand(1, 1), Scale(1, None)),
        (wish(1, NOW - 9), ONE, Demand(0, 30), Scale(0, None)),
    ],
)
def test_decision(held: Wish | None, bounds: Bounds, demand: Demand | None, expected: Scale) -> None:
    assert decide(held, bounds, demand, NOW) == expected
