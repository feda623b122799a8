"""The hours in which batches are worked on."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from dormouse_router.batch.hours import ALWAYS, parsed
from dormouse_router.worker.settings import WorkerSettings

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("hours", "zone", "when", "is_open"),
    [
        ("", "", "2026-11-22T12:00", True),
        ("20:00-06:00", "", "2026-11-22T19:59", False),
        ("20:00-06:00", "", "2026-11-22T20:00", True),
        ("20:00-06:00", "", "2026-11-23T05:59", True),
        ("20:00-06:00", "", "2026-11-23T06:00", False),
        ("9:00 - 17:30", "", "2026-11-23T17:29", True),
        ("9:00 - 17:30", "", "2026-11-23T17:30", False),
        ("Mon-Fri 20:00-06:00", "", "2026-11-28T05:00", True),  # Saturday: Friday's night
        ("Mon-Fri 20:00-06:00", "", "2026-11-28T20:00", False),
        ("Mon-Fri 20:00-06:00", "", "2026-11-30T05:00", False),  # Monday: no night of Sunday
        ("Mon-Fri 20:00-06:00, Sat-Sun 00:00-24:00", "", "2026-11-29T12:00", True),
        ("sat-mon 00:00-24:00", "", "2026-11-23T12:00", True),
        ("sat-mon 00:00-24:00", "", "2026-11-24T12:00", False),
        ("Sun 00:00-24:00", "", "2026-11-29T23:59", True),
    ],
)
def test_open(hours: str, zone: str, when: str, is_open: bool) -> None:
    assert parsed(hours, zone).open(at(when)) is is_open


def test_they_are_of_a_time_zone_and_its_summers() -> None:
    hours = parsed("20:00-06:00", BERLIN)
    assert hours.open(at("2026-11-22T20:30", BERLIN))
    assert not hours.open(at("2026-11-22T18:30"))
    assert hours.open(at("2026-07-22T18:30"))


@pytest.mark.parametrize(
    ("hours", "zone", "says"),
    [
        ("always", "", "span of hours"),
        ("20:00", "", "span of hours"),
        ("25:00-26:00", "", "24:00"),
        ("20:60-21:00", "", "24:00"),
        ("20:00-20:00", "", "00:00-24:00"),
        ("Foo 20:00-21:00", "", "Mon"),
        ("", "Europe", "Europe/Berlin"),
        ("", "../etc/passwd", "Europe/Berlin"),
    ],
)
def test_what_is_none_is_told_with_the_fix(hours: str, zone: str, says: str) -> None:
    with pytest.raises(ValueError, match="DORMOUSE_BATCH_HOURS, DORMOUSE_BATCH_TIME_ZONE") as raised:
        WorkerSettings.from_env({"DORMOUSE_BATCH_HOURS": hours, "DORMOUSE_BATCH_TIME_ZONE": zone})
    assert says in str(raised.value)


def test_settings_of_a_worker() -> None:
    assert WorkerSettings.from_env({}) == WorkerSettings()
    assert WorkerSettings().hours is ALWAYS
    env = {
        "DORMOUSE_ROUTER_URL": "http://dormouse:8080",
        "DORMOUSE_WORKER_MEMORY": "1Gi",
        "DORMOUSE_WORKER_IN_FLIGHT": "0",
    }
    found = WorkerSettings.from_env(env)
    assert (found.router_url, found.bytes, found.in_flight) == ("http://dormouse:8080", 2**30, 1)


@pytest.mark.parametrize(
    "url", ["dormouse:8080", "https://dormouse", "http://", "http://user:pass@dormouse", "http://a?b"]
)
def test_a_router_is_called_over_http(url: str) -> None:
    with pytest.raises(ValueError, match="DORMOUSE_ROUTER_URL"):
        WorkerSettings.from_env({"DORMOUSE_ROUTER_URL": url})
