"""Windows of cron expressions: in their zone, across changes of the clocks, whenever one looks."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dormouse_api.ahead import Schedule
from dormouse_api.model import Scaling
from dormouse_operator.decide import schedule

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def found(cron: str, now: float, seconds: int = 3600, zone: str = BERLIN) -> list[tuple[float, float]]:
    made = Schedule(cron=cron, time_zone=zone, duration_seconds=seconds)
    return [(window.begins, window.ends) for window in schedule.windows([made], now)]


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        pytest.param("2026-11-23T07:59:59", ["2026-11-23T08:00"], id="a second before"),
        pytest.param("2026-11-23T08:00:00", ["2026-11-23T08:00", "2026-11-24T08:00"], id="at its beginning"),
        pytest.param("2026-11-23T08:59:59", ["2026-11-23T08:00", "2026-11-24T08:00"], id="a second before its end"),
        pytest.param("2026-11-23T09:00:00", ["2026-11-24T08:00"], id="at its end"),
        pytest.param("2026-11-27T12:00:00", ["2026-11-30T08:00"], id="not at weekends"),
        pytest.param("2026-03-27T12:00:00", ["2026-03-30T08:00"], id="08:00 stays 08:00 when the clocks change"),
    ],
)
def test_the_window_in_force_and_the_next(now: str, begins: list[str]) -> None:
    assert [began for began, _ in found("0 8 * * 1-5", at(now))] == [at(text) for text in begins]


def test_what_is_due_in_an_hour_that_the_clocks_leave_out_is_due_right_after_it() -> None:
    (window,) = found("30 2 * * *", at("2026-03-29T01:59"))
    assert window == (at("2026-03-29T03:00"), at("2026-03-29T04:00"))


def test_what_is_due_in_an_hour_that_comes_twice_is_due_once_and_lasts_as_long_as_ever() -> None:
    first = at("2026-10-25T02:30")
    assert found("30 2 * * *", first - 60)[0] == (first, first + 3600)
    after = found("30 2 * * *", first + 3600 + 60)
    assert [began for began, _ in after] == [at("2026-10-26T02:30")]


def test_a_window_that_outlasts_the_next_beginning_goes_on() -> None:
    now = at("2026-11-23T08:30")
    current, following = found("0 * * * *", now, seconds=7200)
    assert current == (at("2026-11-23T08:00"), at("2026-11-23T10:00"))
    assert following[0] == at("2026-11-23T09:00")


@pytest.mark.parametrize(
    ("scaling", "words"),
    [
        ({"schedules": [{"cron": "0 25 * * *"}]}, ["scaling.schedules[0].cron '0 25 * * *'", "Bad hour"]),
        ({"schedules": [{"cron": "0 8 * * *"}, {"cron": "0 8 * * MOO"}]}, ["scaling.schedules[1].cron", "day-of-week"]),
        ({"schedules": [{"cron": "0 0 30 2 *"}]}, ["scaling.schedules[0].cron"]),
        ({"schedules": [{"cron": "0 8 * * *", "timeZone": "Europe/Dresden"}]}, ["Europe/Dresden is no time zone"]),
        ({"schedules": [{"cron": "0 8 * * *", "timeZone": "Europe"}]}, ["Europe is no time zone"]),
        ({"learn": {"timeZone": "Mars/Base"}}, ["scaling.learn.timeZone Mars/Base"]),
        ({"schedules": [{"cron": "*/5 8-18 * * MON-FRI", "timeZone": "Asia/Kolkata"}], "learn": {}}, []),
    ],
)
def test_what_cannot_be_obeyed_is_said_with_the_fix(scaling: dict[str, object], words: list[str]) -> None:
    said = "; ".join(schedule.problems(Scaling.model_validate(scaling)))
    assert bool(said) == bool(words)
    for word in words:
        assert word in said


@pytest.mark.parametrize(("cron", "zone"), [("0 25 * * *", "UTC"), ("0 8 * * *", "Europe/Dresden")])
def test_what_cannot_be_read_has_no_windows(cron: str, zone: str) -> None:
    made = Schedule(cron=cron, time_zone=zone)
    assert schedule.windows([made], at("2026-11-23T08:00")) == []
