"""`keep_alive` in every form clients send, and times and durations as Ollama writes them."""

import math
import re
from datetime import UTC, datetime

from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.gateway import FOREVER

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PIECE = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_GO = re.compile(rf"[+-]?(?:0|(?:{_PIECE.pattern})+)")
_LARGEST = 1e300
_LONGEST = 64
_LONGEST_SECONDS = 2147483647.0
FOREVER_TIME = "2318-01-01T00:00:00Z"
"""What a model that never sleeps shows as `expires_at`: clients print "Forever" beyond twenty years."""


def keep_alive(value: object) -> float | None:
    """Seconds a request asks the model to stay awake after it; negative is for ever, None leaves it to the model.

    Numbers are seconds, strings Go durations; a string without a unit, which several clients send, is seconds.
    """
    if value is None or value == "":
        return None
    seconds = math.nan
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < _LARGEST else math.nan
    elif isinstance(value, str):
        seconds = _seconds(value.strip())
    if math.isnan(seconds):
        raise bad_request(
            f"keep_alive: invalid duration {_shown(value)}: "
            'send seconds as a number, or a string such as "5m", "1h30m" or "-1"'
        )
    return FOREVER if seconds < 0 or seconds >= _LONGEST_SECONDS else seconds


def _seconds(text: str) -> float:
    if len(text) > _LONGEST:
        return math.nan
    if _GO.fullmatch(text):
        total = sum(float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text))
        return -total if text.startswith("-") else total
    try:
        return float(text)
    except ValueError:
        return math.nan


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return f'"{text[:40]}"'


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds, the most that every client parses."""
    # called for every token: isoformat is three times as fast as strftime
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat(timespec='microseconds')[:26]}Z"


def nanoseconds(seconds: float) -> int:
    """A duration in ns, at least 1: clients take a missing or zero duration for a failed measurement."""
    return max(1, int(seconds * 1e9))
