"""How many runtime pods there shall be, and when to ask again. Pure."""

import math
from dataclasses import dataclass

from dormouse_api.lease import Wish
from dormouse_operator.decide import autoscale
from dormouse_operator.observed import Demand


@dataclass(frozen=True)
class Scale:
    """The decision."""

    replicas: int
    look_at: float | None
    """When the answer may change by itself (seconds since the epoch), or None."""
    guess: bool = False
    """Nobody wants them but the model's own history."""


@dataclass(frozen=True)
class Bounds:
    """What the spec and the profile allow."""

    least: int
    most: int
    slots: int
    """Requests in flight one pod shall carry at most."""
    calm: float
    """Seconds fewer pods must have been enough before there are fewer."""


def decide(wish: Wish | None, bounds: Bounds, demand: Demand | None, now: float, pods: int = 0) -> Scale:
    """Awake while the lease lasts, and while a router still has requests in flight after it ended.

    `pods`: as many are wanted at present. Where no demand is known (yet), as many are kept.
    """
    held = wish is not None and wish.ends > now
    busy = demand is not None and demand.now > 0
    look_at = wish.ends if held and wish else None
    if not held and not busy:
        return Scale(bounds.least, None)
    wanted = pods
    if demand is not None and bounds.most > 1:
        wanted = autoscale.pods(pods, autoscale.need(demand.samples, bounds.slots, bounds.calm))
    if pods > max(bounds.least, 1):  # they go one by one, and nothing but time passes in between
        look_at = min(look_at or math.inf, now + autoscale.TICK_SECONDS)
    return Scale(min(bounds.most, max(bounds.least, 1, wanted)), look_at)
