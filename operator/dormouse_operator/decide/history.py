"""In which hours of the week a model is called, and which of them are worth being awake for. Pure.

What is counted are calls that found the model asleep, or would have, had it not been awake ahead of them. Counts lose a
fifth with every week, and an hour borrows two weeks of experience from the same hour of the other days: so three
mornings are enough to be ready on the next, and one free Saturday to leave Saturdays alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dormouse_api.ahead import HOURS, History
from dormouse_api.lease import parse_time
from dormouse_operator.decide.coldstart import stamp

HOUR = 3600.0
WEEK = HOURS * HOUR
KEPT = 0.8
"""Of a count, with every week."""
UNIT = 100
"""One call, as it is counted."""
BORROWED = 2.0
"""Weeks of experience that an hour has of the same hour of other days."""
DOUBT = 3.0
"""Days without a call that every hour of the day is taken to begin with: once is no habit."""
DEAREST_MINUTES = 90.0
"""Awake, at most, for one wake saved."""


@dataclass(frozen=True)
class Hour:
    """An hour that is to come. `begins`: seconds since the epoch."""

    begins: float
    wakes: float
    """Calls that are expected in it and would find the model asleep."""

    @property
    def minutes(self) -> float:
        """Awake until they have come, spread evenly: half the hour for one, all of it for none."""
        return 60.0 * self.wakes / (self.wakes + 1.0) if self.wakes > 1.0 else 60.0 - 30.0 * self.wakes

    @property
    def worth(self) -> float:
        """Wakes saved per minute awake."""
        return self.wakes / self.minutes


def began(now: float) -> History:
    """Nothing has been seen yet."""
    return History(since=stamp(now), hours=[0] * HOURS)


def counted(known: History, called: float, zone: ZoneInfo) -> History:
    """With the call of that moment."""
    faded = _faded(known, called)
    hours = [round(count * faded) for count in known.hours]
    hours[index(called, zone)] += UNIT
    return known.model_copy(update={"hours": hours, "last": stamp(called)})


def index(at: float, zone: ZoneInfo) -> int:
    """The hour of the week of that moment, Monday 00:00 first."""
    local = datetime.fromtimestamp(at, zone)
    return local.weekday() * 24 + local.hour


def hour_of(at: float, zone: ZoneInfo) -> float:
    """When the local hour of that moment began."""
    local = datetime.fromtimestamp(at, zone)
    return at - local.minute * 60 - local.second - local.microsecond / 1e6


def expected(known: History, now: float, zone: ZoneInfo) -> list[float]:
    """For each hour of the week, how many calls are expected that would find the model asleep."""
    faded = _faded(known, now) / UNIT
    calls = [count * faded for count in known.hours]
    weeks = _weeks(known, now, zone)
    found: list[float] = []
    for hour in range(HOURS):
        alike = range(hour % 24, HOURS, 24)
        usual = sum(calls[h] for h in alike) / (sum(weeks[h] for h in alike) + DOUBT)
        found.append((calls[hour] + BORROWED * usual) / (weeks[hour] + BORROWED))
    return found


def day(known: History, at: float, zone: ZoneInfo) -> list[Hour]:
    """The hours of the local day of `at` as they are expected at that moment."""
    wakes = expected(known, at, zone)
    local = datetime.fromtimestamp(at, zone)
    found: list[Hour] = []
    for hour in range(24):
        begins = local.replace(hour=hour, minute=0, second=0, microsecond=0, fold=0)
        if datetime.fromtimestamp(begins.timestamp(), zone).hour == hour:  # else the clocks leave it out
            found.append(Hour(begins.timestamp(), wakes[begins.weekday() * 24 + hour]))
    return found


def day_ends(at: float, zone: ZoneInfo) -> float:
    """The next local midnight."""
    local = datetime.fromtimestamp(at, zone) + timedelta(days=1)
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()


def chosen(hours: Sequence[Hour], minutes: float) -> list[Hour]:
    """The hours worth being awake for, best first, until `minutes` of budget are expected to be spent."""
    found: list[Hour] = []
    for hour in sorted(hours, key=lambda hour: (-hour.worth, hour.begins)):
        if minutes <= 0 or hour.worth * DEAREST_MINUTES < 1.0:
            break
        found.append(hour)
        minutes -= hour.minutes
    return found


def _faded(known: History, now: float) -> float:
    """What is left at `now` of counts as they were last written."""
    since = parse_time(known.since)
    last = parse_time(known.last) if known.last is not None else since
    passed = (max(now, last) - since) // WEEK - max(0.0, last - since) // WEEK
    return float(KEPT**passed)


def _weeks(known: History, now: float, zone: ZoneInfo) -> list[float]:
    """How often each hour of the week has passed, faded as the counts are."""
    since = parse_time(known.since)
    whole, rest = divmod(max(0.0, now - since), WEEK)
    first = index(since, zone)
    found: list[float] = []
    for hour in range(HOURS):
        times = whole + ((hour - first) % HOURS * HOUR < rest)
        found.append((1.0 - KEPT**times) / (1.0 - KEPT))
    return found
