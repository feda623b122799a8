"""What a model that waits is told: its place, who has what it waits for, and about how long. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dormouse_operator.decide.pool import (
    AGAIN_SECONDS,
    QUIET_SECONDS,
    Contender,
    Key,
    ease,
    holders,
    rivals,
    stay,
    yields_at,
)


@dataclass(frozen=True)
class Place:
    """A place in the line. `seconds`: about how long until its start begins, where that can be told."""

    position: int
    of: int
    holder: Key | None
    why: str
    seconds: int | None = None
    asked_to_leave: float | None = None
    """Since when the holder makes room."""


def place(
    c: Contender,
    line: Sequence[Contender],
    pool: Sequence[Contender],
    leaving: Mapping[Key, Key],
    now: float,
    least_stay: float,
) -> Place | None:
    """Its place; None where there is nobody to wait for, and the scheduler's own words say more."""
    ahead = [w for w in line[: line.index(c)] if rivals(c, w)]
    behind = [w for w in line[line.index(c) + 1 :] if rivals(c, w)]
    there = holders(ahead[0] if ahead else c, pool)
    if not ahead and not there:
        return None
    mine = [h for h in there if leaving.get(h.key) == (ahead[0] if ahead else c).key]
    holder = min(mine or there, key=lambda h: (ease(h, c, now, least_stay), h.last_used, h.key), default=None)
    wait = _wait(holder, ahead[0] if ahead else c, now, least_stay) if holder is not None else 0.0
    seconds: float | None = wait
    for other in ahead:
        if seconds is None or other.start_seconds is None:
            seconds = None
        else:
            seconds += other.start_seconds + stay(other, least_stay)
    return Place(
        position=len(ahead) + 1,
        of=len(ahead) + 1 + len(behind),
        holder=holder.key if holder is not None else None,
        why=_why(holder, ahead, leaving),
        seconds=None if seconds is None else rounded(seconds),
        asked_to_leave=(holder.leaving or holder.left) if holder is not None else None,
    )


def _wait(holder: Contender, heir: Contender, now: float, least_stay: float) -> float | None:
    """Seconds until `holder` has left for `heir`, where nobody's answer takes long."""
    if not holder.granted or not holder.wanted or holder.leaving is not None:
        return AGAIN_SECONDS
    if holder.kept:
        return None
    at = yields_at(holder, heir, now, least_stay)
    if at is None:
        return None if holder.start_seconds is None else holder.start_seconds + stay(holder, least_stay, heir)
    busy = holder.traffic is None or holder.traffic.in_flight + holder.traffic.held > 0
    return max(AGAIN_SECONDS, at - now) if busy else QUIET_SECONDS


def _why(holder: Contender | None, ahead: Sequence[Contender], leaving: Mapping[Key, Key]) -> str:
    if holder is None:
        return f"{_name(ahead[0])} is being placed" if ahead else "it is being placed"
    name = _name(holder)
    if not holder.granted or not holder.wanted:
        return f"{name} is ending"
    if holder.key in leaving:
        return f"{name} finishes its calls and makes room"
    if holder.kept:
        return f"{name} holds it and is to stay awake (its scaling.minReplicas, or a caller's keep_alive)"
    return f"{name} holds it"


def _name(c: Contender) -> str:
    return "/".join(c.key)


def rounded(seconds: float) -> int:
    """To a coarse step, so that a status that says it is not written every second."""
    steps = (5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600, 1200, 1800)
    return next((step for step in steps if seconds <= step), 3600)
