"""The models that want the same devices, and what can be said of one or two of them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

Key = tuple[str, str]
"""(namespace, name)"""

QUIET_SECONDS = 6.0
"""Without a call for so long, a model may be asked to leave at any time. Longer than the 5 s that a router takes to
write the Lease after the last call, so that this write is not taken for another wish."""
DOOR_SECONDS = 1.5
"""Until every router has heard that a door is closed."""
STAY_FACTOR = 3.0
"""A busy model stays for so many times what its start took: at most a quarter of the time goes into starts."""
LONGEST_STAY = 600.0
STARVED_SECONDS = 600.0
"""Who has waited for so long goes before any priority: else a low one is never served beside busy higher ones."""
PLACING_SECONDS = 30.0
"""How long the scheduler may take to give the first of the line what somebody left for it."""
AGAIN_SECONDS = 2.0
"""Until the pool is looked at again while anybody waits: as often as routers are asked."""


@dataclass(frozen=True)
class Traffic:
    """What the routers said last of a model, all of them."""

    at: float
    """When they were asked."""
    in_flight: int
    held: int
    quiet: float
    """Seconds since any of them had a call for it."""


@dataclass(frozen=True)
class Contender:
    """A model of the pool. `key` is its own; times are seconds since the epoch."""

    key: Key
    profile: str
    resource: str
    """What is fought over: an extended resource, or the profile itself."""
    count: int = 1
    """Devices each of its pods takes."""
    selector: Mapping[str, str] = field(default_factory=dict)
    """Labels of the nodes it may run on."""
    limit: int | None = None
    """Models of its profile that may be awake at once."""
    wanted: bool = False
    granted: bool = False
    """Its Deployment has replicas."""
    asked: float | None = None
    """Since when it waits, or waited for the pod it has now."""
    nodes: Mapping[str, int] = field(default_factory=dict)
    """Devices its pods hold on each node, those that are ending included."""
    pods: int = 0
    homeless: bool = False
    """Its pod finds no node with a free device."""
    ready_at: float | None = None
    kept: bool = False
    """It may not be asked to leave: minReplicas, or a caller's own longer keep_alive."""
    traffic: Traffic | None = None
    """None where the routers have not told lately."""
    last_used: float = 0.0
    leaving: float | None = None
    """Since when its door is closed."""
    woken: float | None = None
    """When it got its replicas."""
    left: float | None = None
    """When it lost them for another's sake, if that was its last end."""
    start_seconds: float | None = None
    """What its starts take."""
    guess: bool = False
    """Nobody wants it but its own history: it takes what is free, and gives it back to whoever is called."""
    priority: int = 0
    waiting: float | None = None
    """Since when it is in the line, its pod's own waiting included."""
    hopeless: bool = False
    """Others' leaving would not help it to a device."""


class Ease(IntEnum):
    """How easily a holder goes; the lower goes first."""

    GOING = 0
    IDLE_BEHIND_DOOR = 1
    QUIET = 2
    BUSY_BEHIND_DOOR = 3
    BUSY = 4
    STAYS = 5


def rivals(a: Contender, b: Contender) -> bool:
    """Whether a node may exist that both could run on."""
    return a.resource == b.resource and all(b.selector.get(k, v) == v for k, v in a.selector.items())


def since(c: Contender, now: float) -> float:
    """When it began to wait."""
    return min(now if c.asked is None else c.asked, now if c.waiting is None else c.waiting)


def starved(c: Contender, now: float) -> bool:
    """It has waited so long that no priority counts any more."""
    return now - since(c, now) >= STARVED_SECONDS


def stay(c: Contender, least: float, heir: Contender | None = None) -> float:
    """Seconds a busy model keeps its devices once it is ready: the least where `heir` is of higher priority."""
    if heir is not None and heir.priority > c.priority:
        return least
    return min(LONGEST_STAY, max(least, STAY_FACTOR * (c.start_seconds or 0.0)))


def yields_at(c: Contender, heir: Contender, now: float, least: float) -> float | None:
    """From when on `c`, though busy, is asked to make room for `heir`; None while it is not ready."""
    if c.ready_at is None:
        return None
    over = c.ready_at + stay(c, least, heir)
    return over if heir.priority >= c.priority else max(over, since(heir, now) + STARVED_SECONDS)


def ease(c: Contender, heir: Contender, now: float, least_stay: float) -> Ease:
    """How easily `c` goes for `heir`."""
    if not c.granted or not c.wanted:
        return Ease.GOING
    if c.guess and c.traffic is not None and not c.traffic.in_flight + c.traffic.held:
        return Ease.IDLE_BEHIND_DOOR
    if c.kept or c.ready_at is None:
        return Ease.STAYS
    flying = c.traffic.in_flight if c.traffic is not None else None
    if c.leaving is not None:
        forsaken = heir.traffic is not None and not heir.traffic.held
        if forsaken and c.traffic is not None and c.traffic.in_flight + c.traffic.held:
            return Ease.STAYS  # whoever waited has gone, and others wait for this one
        return Ease.IDLE_BEHIND_DOOR if flying == 0 else Ease.BUSY_BEHIND_DOOR
    if flying is None or c.traffic is None:
        return Ease.STAYS
    if flying == 0 and c.traffic.quiet >= QUIET_SECONDS:
        return Ease.QUIET
    somebody = heir.traffic is not None and heir.traffic.held > 0
    at = yields_at(c, heir, now, least_stay)
    return Ease.BUSY if somebody and at is not None and now >= at else Ease.STAYS


def holders(heir: Contender, pool: Sequence[Contender]) -> list[Contender]:
    """Those who have what `heir` waits for: devices, or one of the places of its profile."""
    if heir.homeless:
        return [c for c in pool if c.key != heir.key and c.nodes and rivals(c, heir)]
    if heir.granted or heir.limit is None:
        return []
    return [c for c in pool if c.key != heir.key and c.profile == heir.profile and (c.granted or c.pods)]


def gone_out(c: Contender) -> bool:
    """Its door is closed, and every router has told since then that none of its calls runs."""
    heard = c.leaving is not None and c.traffic is not None and c.traffic.at >= c.leaving + DOOR_SECONDS
    return heard and c.traffic is not None and c.traffic.in_flight == 0
