"""The arithmetic of the Lease that keeps a model awake. Pure: times are seconds since the epoch (float, UTC).

`renewTime + leaseDurationSeconds` is when the wish ends. The router writes wishes; the operator only reads them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil

FOREVER = 2147483647
"""The longest `leaseDurationSeconds` the API server takes (int32): 68 years, which is what `keep_alive: -1` asks."""

EARLIEST, LATEST = -30_610_224_000.0, 32_503_680_000.0
"""The years 1000 and 3000. The API server takes a renewTime of any year to 9999, whose ends not every clock can say."""


@dataclass(frozen=True)
class Wish:
    """How long a model shall stay awake: `duration` seconds from `renewed`. `ends` is the moment it may sleep."""

    renewed: float
    duration: int

    @property
    def ends(self) -> float:
        return self.renewed + self.duration


def micro_time(seconds: float) -> str:
    """`seconds` as a Kubernetes MicroTime: exactly six decimals, or the API server refuses it (422)."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """A Kubernetes Time or MicroTime as seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def wish_for(now: float, seconds: float | None) -> Wish:
    """A wish to stay awake for `seconds` from now; `None` is for ever, zero or less ends at once."""
    if seconds is None:
        return Wish(now, FOREVER)
    if seconds <= 0:
        return Wish(now - 1, 1)  # the API server wants a duration of at least one second
    return Wish(now, min(FOREVER, max(1, ceil(seconds))))


def read_wish(spec: dict[str, object] | None) -> Wish | None:
    """The wish in a Lease's `spec`, or None where nobody has written one yet."""
    renewed, duration = (spec or {}).get("renewTime"), (spec or {}).get("leaseDurationSeconds")
    if not isinstance(renewed, str) or not isinstance(duration, int):
        return None
    return Wish(min(max(parse_time(renewed), EARLIEST), LATEST), duration)


def later(wish: Wish, current: Wish | None) -> bool:
    """Whether `wish` ends after `current`: a shorter wish never overwrites a longer one."""
    return current is None or wish.ends > current.ends


def lease_spec(wish: Wish, holder: str) -> dict[str, object]:
    """The part of a Lease's `spec` that the router writes."""
    return {
        "holderIdentity": holder,
        "renewTime": micro_time(wish.renewed),
        "leaseDurationSeconds": wish.duration,
    }
