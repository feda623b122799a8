"""When the windows of `scaling.schedules` begin and end. Pure: cron expressions, time zones and a moment in.

cronsim reads the expressions as Debian's cron does: what is due in an hour that a change of the clocks leaves out is
due right after it, and what is due in one that comes twice is due once. A window lasts its seconds whatever the clocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from dormouse_api.ahead import Schedule
from dormouse_api.model import Scaling


@dataclass(frozen=True)
class Window:
    """Seconds since the epoch."""

    begins: float
    ends: float
    replicas: int
    zone: str


def windows(schedules: Sequence[Schedule], now: float) -> list[Window]:
    """Of each schedule the window that is in force, and the next that begins. What cannot be read has none."""
    found: list[Window] = []
    for schedule in schedules:
        if zone(schedule.time_zone) is None:
            continue
        for begins in _edges(schedule.cron, schedule.time_zone, int(now // 60)):
            ends = begins + schedule.duration_seconds
            if ends > now:
                found.append(Window(begins, ends, schedule.min_replicas, schedule.time_zone))
    return found


def problems(scaling: Scaling) -> list[str]:
    """What of the schedules cannot be obeyed, each with the fix; empty where all is well."""
    found: list[str] = []
    for number, schedule in enumerate(scaling.schedules or ()):
        where = f"scaling.schedules[{number}]"
        if zone(schedule.time_zone) is None:
            found.append(_unknown_zone(where, schedule.time_zone))
        if why := _unreadable(schedule.cron):
            found.append(
                f"{where}.cron '{schedule.cron}': {why}: write minute, hour, day of month, month and day of week"
            )
    if scaling.learn is not None and zone(scaling.learn.time_zone) is None:
        found.append(_unknown_zone("scaling.learn", scaling.learn.time_zone))
    return found


@lru_cache(256)
def zone(name: str) -> ZoneInfo | None:
    """The time zone, or None where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # OSError: a folder of zones, such as Europe
        return None


def _unknown_zone(where: str, name: str) -> str:
    return f"{where}.timeZone {name} is no time zone: write an IANA name such as Europe/Berlin or UTC"


def _unreadable(cron: str) -> str:
    try:
        if not list(_some(CronSim(cron, datetime(2000, 1, 1, tzinfo=ZoneInfo("UTC"))))):
            return "it never comes"
    except CronSimError as error:
        return str(error)
    return ""


@lru_cache(4096)
def _edges(cron: str, zone_name: str, minute: int) -> tuple[float, ...]:
    """The last time at or before that minute of the epoch, and the next after it."""
    tz = ZoneInfo(zone_name)
    try:
        before = _some(CronSim(cron, datetime.fromtimestamp(minute * 60 + 1, tz), reverse=True))
        after = _some(CronSim(cron, datetime.fromtimestamp(minute * 60, tz)))
        return tuple(found.timestamp() for found in (*before, *after))
    except CronSimError:
        return ()


def _some(times: CronSim) -> tuple[datetime, ...]:
    """The first, if there is one within the 50 years that are looked through."""
    found = next(times, None)
    return () if found is None else (found,)
