"""The hours in which batches are worked on. Pure: settings and a moment in.

`Mon-Fri 20:00-06:00, Sat 00:00-24:00`: spans of a day of a time zone, each with days where it is not of every day. One
that ends before it begins goes on into the next day.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))?\s+)?(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", re.IGNORECASE)
_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes of a day; `ends` may be of the day after."""

    days: frozenset[int]
    begins: int
    ends: int


@dataclass(frozen=True, slots=True)
class Hours:
    """No spans: always."""

    spans: tuple[Span, ...] = ()
    zone: tzinfo = UTC

    def open(self, now: float) -> bool:
        """Whether batches are worked on at that second since the epoch."""
        if not self.spans:
            return True
        local = datetime.fromtimestamp(now, self.zone)
        minute, before = local.hour * 60 + local.minute, (local - timedelta(days=1)).weekday()
        return any(
            (local.weekday() in span.days and span.begins <= minute < span.ends)
            or (before in span.days and minute + _DAY < span.ends)
            for span in self.spans
        )


ALWAYS = Hours()


def parsed(text: str, zone: str) -> Hours:
    """ValueError with the fix where it is none."""
    try:
        place = ZoneInfo(zone) if zone not in ("", "UTC") else UTC  # which needs no table of time zones
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{zone!r} is no time zone: write an IANA name such as Europe/Berlin or UTC") from None
    return Hours(tuple(_span(part.strip()) for part in text.split(",") if part.strip()), place)


def _span(text: str) -> Span:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no span of hours: write one such as 20:00-06:00 or Mon-Fri 20:00-06:00")
    first, last = found[1], found[2]
    begins, ends = _minutes(found[3], found[4], text), _minutes(found[5], found[6], text)
    if begins == ends:
        raise ValueError(f"{text!r} ends when it begins: write 00:00-24:00 for a whole day")
    return Span(_days(first, last, text), begins, ends if ends > begins else ends + _DAY)


def _minutes(hour: str, minute: str, text: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > _DAY:
        raise ValueError(f"{text!r} has a time that is none: hours go from 00:00 to 24:00")
    return total


def _days(first: str | None, last: str | None, text: str) -> frozenset[int]:
    if first is None:
        return frozenset(range(7))
    try:
        begin = DAYS.index(first.lower())
        end = DAYS.index((last or first).lower())
    except ValueError:
        raise ValueError(f"{text!r} has a day that is none: write Mon, Tue, Wed, Thu, Fri, Sat or Sun") from None
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1))
