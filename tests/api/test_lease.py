"""The lease arithmetic: what the API server takes, and who wins."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_api import lease
from dormouse_api.lease import FOREVER, Wish

MICRO_TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")


@given(st.floats(min_value=0, max_value=4_000_000_000))
def test_micro_time_always_has_six_decimals_and_reads_back(seconds: float) -> None:
    text = lease.micro_time(seconds)
    assert MICRO_TIME.match(text), text
    assert lease.parse_time(text) == pytest.approx(seconds, abs=1e-6)


def test_micro_time_keeps_the_fraction_of_a_whole_second() -> None:
    assert lease.micro_time(1_700_000_000.0) == "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize(
    ("seconds", "duration", "ends_in"),
    [(300, 300, 300), (0.2, 1, 1), (2.5, 3, 3), (None, FOREVER, FOREVER), (10**12, FOREVER, FOREVER)],
)
def test_a_wish_ends_after_its_seconds(seconds: float | None, duration: int, ends_in: int) -> None:
    wish = lease.wish_for(1000.0, seconds)
    assert (wish.duration, wish.ends) == (duration, 1000.0 + ends_in)


@pytest.mark.parametrize("seconds", [0, -5, -0.1])
def test_no_time_at_all_is_a_wish_that_has_ended(seconds: float) -> None:
    wish = lease.wish_for(1000.0, seconds)
    assert wish.ends <= 1000.0
    assert wish.duration >= 1, "the API server refuses a duration below one second"


def test_what_is_written_is_what_is_read() -> None:
    wish = lease.wish_for(1_700_000_000.25, 60)
    assert lease.read_wish(lease.lease_spec(wish, "router-1")) == wish


@pytest.mark.parametrize("spec", [None, {}, {"renewTime": "2023-11-14T22:13:20.000000Z"}, {"leaseDurationSeconds": 5}])
def test_a_lease_nobody_renewed_holds_no_wish(spec: dict[str, object] | None) -> None:
    assert lease.read_wish(spec) is None


@pytest.mark.parametrize(
    ("wish", "current", "wins"),
    [
        (Wish(100, 10), None, True),
        (Wish(100, 10), Wish(0, 60), True),
        (Wish(100, 300), Wish(90, 3600), False),
        (Wish(100, 10), Wish(100, 10), False),
    ],
)
def test_a_shorter_wish_never_overwrites_a_longer_one(wish: Wish, current: Wish | None, wins: bool) -> None:
    assert lease.later(wish, current) is wins
