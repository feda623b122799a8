"""Starting a model before anybody calls it: what a user asks for (schedules, learning), and what came of it.

Owns shapes and bounds. Knows nothing of how a cron expression is read or an hour is chosen.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject, Timestamp

CRON_PATTERN = r"^[0-9A-Za-z*/,#-]{1,60}( [0-9A-Za-z*/,#-]{1,60}){4}$"
ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}$"
TimeZone = Annotated[str, Field(max_length=64, pattern=ZONE_PATTERN)]
HOURS = 168
"""Of a week."""


class Schedule(ApiObject):
    """A window that comes again and again, in which the model has pods though nobody calls."""

    cron: Annotated[str, Field(max_length=128, pattern=CRON_PATTERN)]
    """When the window begins: minute, hour, day of the month, month, day of the week, as in crontab(5). The model is
    started as much earlier as its starts take, so that it serves then."""
    time_zone: TimeZone = "UTC"
    """IANA name of the zone that cron is meant in, such as Europe/Berlin."""
    duration_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How long the window lasts."""
    min_replicas: Annotated[int, Field(ge=1, le=64)] = 1
    """Pods kept while it lasts."""


class Learn(ApiObject):
    """Start the model ahead of the hours of the week in which it was called before."""

    budget_minutes_per_day: Annotated[int, Field(ge=1, le=1440)] = 60
    """Minutes a day the model may be awake for guesses before a call comes. From then on it costs nothing."""
    time_zone: TimeZone = "UTC"
    """IANA name of the zone whose hours and days are counted."""


class Source(StrEnum):
    """Why a model was started ahead."""

    SCHEDULE = "Schedule"
    HISTORY = "History"


class Ahead(ApiObject):
    """It is awake ahead of a call that has not come yet."""

    source: Source
    at: Timestamp
    """Since when nothing else keeps it awake."""
    kept: bool = False
    """It was awake already, for calls that are over; else it was started."""
    serves_at: Timestamp
    """The beginning of the window or hour that it is for."""
    until: Timestamp
    """When it is given up."""


class History(ApiObject):
    """How many calls found the model asleep in each hour of the week, or would have, had it not been awake ahead."""

    since: Timestamp
    last: Timestamp | None = None
    """When a call was counted last."""
    hours: Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(min_length=HOURS, max_length=HOURS)]
    """Hundredths, Monday 00:00 first, in the time zone of scaling.learn; all lose a fifth with every week."""


class Prewarm(ApiObject):
    """What being awake ahead of calls has brought so far."""

    starts: int = 0
    """Times it was started, or kept awake, ahead of a call."""
    used: int = 0
    """Times that call came: a wake was saved."""
    unused: int = 0
    seconds_saved: int = 0
    """Of waiting: what those callers would have waited more, by the model's usual start."""
    seconds_spent: int = 0
    """Awake ahead of calls, and for nothing else."""
    day: Annotated[str, Field(max_length=10)] | None = None
    """The day that guesses were last made on, in the time zone of scaling.learn."""
    day_seconds: int = 0
    """Awake for guesses on that day."""
    current: Ahead | None = None
    last: Timestamp | None = None
    """The hour of the last guess, or of the last call that was counted."""
    last_calls: int = 0
    """Calls counted in that hour."""
    last_over: bool = False
    """Nothing more is guessed for that hour."""
    history: History | None = None
