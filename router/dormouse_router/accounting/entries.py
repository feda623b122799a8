"""One call that ended, the totals that calls add up to, and who keeps those. Types and pure rules only."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

import msgspec

from dormouse_router.caller import Caller

FAILED = 500
"""Of statuses, from which on a call counts as failed. 4xx are the caller's own, 499 among them."""

DAY_SECONDS = 86400
QUEUE, AUDIT, TOTALS = "queue", "audit", "totals"
"""What may be lost: calls that find no room, lines of the audit, calls whose totals find no room."""
LOSSES = (QUEUE, AUDIT, TOTALS)


class Ended(NamedTuple):
    """One call of a model that ended, however it did. Made for every call: it holds no body and no prompt."""

    at: float
    """On the router's own clock. What follows in seconds is how long it took."""
    caller: Caller | None
    """None in mode `open`."""
    model: str
    """Its full name."""
    route: str | None
    """The route it came by."""
    dialect: str
    path: str
    """On the engine."""
    stream: bool
    request_id: str
    status: int
    seconds: float
    first_token: float | None
    """Of a stream: until its first token."""
    held: float
    """Of that, while the model woke."""
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    """Of the prompt's, those that the engine had kept from another call."""


class Key(NamedTuple):
    """What calls are added up by."""

    day: str
    """YYYY-MM-DD, in UTC."""
    owner: str
    caller: str
    """`Caller.id`; empty in mode `open`."""
    model: str


@dataclass(slots=True)
class Total:
    """What the calls of a key add up to."""

    requests: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    held_seconds: float = 0.0
    cached_tokens: int = 0


Totals = dict[Key, Total]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which totals: of the days from `since` to `until`, both included; None is all."""

    since: str
    until: str
    owner: str | None = None
    model: str | None = None
    limit: int = 1000


class Usage(Protocol):
    """Who keeps the totals. Refusal 503 where it cannot."""

    async def add(self, totals: Mapping[Key, Total]) -> None:
        """Add them to what is kept: all or nothing."""
        ...

    async def read(self, wanted: Wanted) -> list[tuple[Key, Total]]:
        """By day, the latest first, then by owner, caller and model."""
        ...


def day_of(at: float) -> str:
    """Of seconds since the epoch."""
    return _day(int(at // DAY_SECONDS))


@functools.lru_cache(maxsize=8)  # nearly every call is of the same day as the one before, and most of the same second
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * DAY_SECONDS, UTC).strftime("%Y-%m-%d")


@functools.lru_cache(maxsize=64)
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _moment(at: float) -> str:
    """As ISO 8601 has it, to the millisecond."""
    second, milliseconds = divmod(int(at * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03d}+00:00"


def add(totals: Totals, ended: Ended, day: str) -> None:
    """Count one call in."""
    caller = ended.caller
    key = Key(day, caller.owner if caller else "", caller.id if caller else "", ended.model)
    total = totals.get(key)
    if total is None:
        totals[key] = total = Total()
    total.requests += 1
    total.failed += ended.status >= FAILED
    total.prompt_tokens += ended.prompt_tokens
    total.completion_tokens += ended.completion_tokens
    total.seconds += ended.seconds
    total.held_seconds += ended.held
    total.cached_tokens += ended.cached_tokens


def merge(into: Totals, more: Mapping[Key, Total]) -> None:
    """Add totals to totals."""
    for key, total in more.items():
        known = into.setdefault(key, Total())
        known.requests += total.requests
        known.failed += total.failed
        known.prompt_tokens += total.prompt_tokens
        known.completion_tokens += total.completion_tokens
        known.seconds += total.seconds
        known.held_seconds += total.held_seconds
        known.cached_tokens += total.cached_tokens


class Line(msgspec.Struct, gc=False):
    """What the audit says of a call, in this order. Nothing of credentials or of what was said."""

    time: str
    audit: str
    caller: str | None
    owner: str | None
    key: str | None
    endpoint: str
    dialect: str
    model: str
    route: str | None
    stream: bool
    status: int
    seconds: float
    first_token_seconds: float | None
    held_seconds: float
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    request_id: str


def line(ended: Ended, at: float) -> Line:
    """Of a call that ended `at` seconds since the epoch."""
    caller = ended.caller
    return Line(
        _moment(at),
        "call",
        caller.id if caller else None,
        caller.owner if caller else None,
        caller.key_id if caller else None,
        ended.path,
        ended.dialect,
        ended.model,
        ended.route,
        ended.stream,
        ended.status,
        round(ended.seconds, 6),
        None if ended.first_token is None else round(ended.first_token, 6),
        round(ended.held, 6),
        ended.prompt_tokens,
        ended.completion_tokens,
        ended.cached_tokens,
        ended.request_id,
    )
