"""How many runtime pods there shall be, and when to ask again. Pure."""

from dataclasses import dataclass

from dormouse_api.lease import Wish
from dormouse_operator.observed import Demand


@dataclass(frozen=True)
class Scale:
    """The decision."""

    replicas: int
    look_at: float | None
    """When the answer may change by itself (seconds since the epoch), or None."""


@dataclass(frozen=True)
class Bounds:
    """What the spec and the profile allow."""

    least: int
    most: int
    target: int
    """Requests in flight one pod shall carry."""


def decide(wish: Wish | None, bounds: Bounds, demand: Demand | None, now: float) -> Scale:
    """Awake while the lease lasts, and while a router still has requests in flight after it ended."""
    held = wish is not None and wish.ends > now
    busy = demand is not None and demand.now > 0
    look_at = wish.ends if held and wish else None
    if not held and not busy:
        return Scale(bounds.least, None)
    wanted = 1 if demand is None else max(1, -(-demand.peak // bounds.target))
    return Scale(min(bounds.most, max(bounds.least, wanted)), look_at)
