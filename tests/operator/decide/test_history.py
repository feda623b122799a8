"""What is learnt of the hours of the week: from how few calls, for how long, and what is worth a budget."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dormouse_api.ahead import History
from dormouse_operator.decide import history

UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC).timestamp()
DAY = 86400.0


def mornings(*days: int, hour: float = 8.3, since: float = MONDAY) -> History:
    known = history.began(since)
    for day in days:
        known = history.counted(known, since + day * DAY + hour * 3600, UTC)
    return known


def wakes(known: History, at: float, day: int, hour: int = 8) -> float:
    return history.expected(known, at, UTC)[day * 24 + hour]


def guesses(known: History, day: int) -> list[int]:
    """The hours of that day that are worth an hour of budget."""
    hours = history.chosen(history.day(known, MONDAY + day * DAY, UTC), 60.0)
    return [datetime.fromtimestamp(hour.begins, UTC).hour for hour in hours]


def test_nothing_is_expected_of_what_was_never_seen() -> None:
    assert set(history.expected(history.began(MONDAY), MONDAY + 3 * DAY, UTC)) == {0.0}


def test_every_call_that_woke_it_is_counted_in_its_hour() -> None:
    known = history.counted(mornings(0), MONDAY + 8.9 * 3600, UTC)
    assert (known.hours[8], sum(known.hours)) == (2 * history.UNIT, 2 * history.UNIT)


def test_once_and_twice_are_no_habit_and_three_mornings_are_worth_a_guess_at_that_hour_only() -> None:
    assert [guesses(mornings(*range(day)), day) for day in range(5)] == [[], [], [], [8], [8]]


def test_free_saturdays_are_found_out() -> None:
    days = [week * 7 + day for week in range(3) for day in range(5)]
    seen = [mornings(*(day for day in days if day < week * 7 + 5)) for week in range(3)]
    assert [guesses(known, week * 7 + 5) for week, known in enumerate(seen)] == [[8], [], []]
    assert guesses(seen[2], 21) == [8]


def test_what_has_ended_is_forgotten_week_by_week() -> None:
    known = mornings(*(week * 7 + day for week in range(4) for day in range(5)))
    later = [wakes(known, MONDAY + weeks * 7 * DAY, day=0) for weeks in (4, 6, 8, 12)]
    assert later == sorted(later, reverse=True)
    assert [guesses(known, weeks * 7) for weeks in (4, 12)] == [[8], []]


def test_counts_fade_when_they_are_written_as_when_they_are_read() -> None:
    known = mornings(0, 1)
    read = history.expected(known, MONDAY + 21 * DAY, UTC)[8]
    written = history.counted(known, MONDAY + 21 * DAY + 20 * 3600, UTC)
    assert written.hours[8] == round(history.UNIT * history.KEPT**3)
    assert history.expected(written, MONDAY + 21 * DAY + 20 * 3600, UTC)[8] == pytest.approx(read, abs=0.05)


def test_the_hours_of_a_day_are_local_ones_and_one_that_the_clocks_leave_out_is_none() -> None:
    spring = datetime(2026, 3, 29, 12, tzinfo=BERLIN).timestamp()
    hours = history.day(history.began(spring - DAY), spring, BERLIN)
    assert [datetime.fromtimestamp(hour.begins, BERLIN).hour for hour in hours] == [0, 1, *range(3, 24)]
    assert history.day_ends(spring, BERLIN) == datetime(2026, 3, 30, tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("minutes", "chosen"),
    [
        pytest.param(0.0, [], id="no budget"),
        pytest.param(30.0, [9.0], id="the busiest first"),
        pytest.param(70.0, [9.0, 8.0], id="until the budget is spent"),
        pytest.param(1440.0, [9.0, 8.0, 10.0], id="and never what is hardly likely"),
    ],
)
def test_the_budget_goes_to_the_hours_that_save_most_per_minute(minutes: float, chosen: list[float]) -> None:
    hours = [history.Hour(8.0, 0.9), history.Hour(9.0, 3.0), history.Hour(10.0, 0.6), history.Hour(11.0, 0.4)]
    assert [hour.begins for hour in history.chosen(hours, minutes)] == chosen
