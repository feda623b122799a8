"""Whose turn it is where more models are wanted than devices are there. Pure: a pool in, a turn for each model out.

The scheduler alone knows which node has a free device, so nothing is counted here: the first of the line gets its pod,
and where that finds no device somebody is asked to leave. Nobody else gets a pod before the first has found its place,
or the scheduler would choose among them. The same pool gives the same turns, whoever asks: models are looked at one by
one, and no two looks may disagree.

Of those who wait the higher `spec.priority` goes first, and of the same priority who has waited longest; a pod that
finds no device goes back into the line for a model of higher priority. Who has waited for `STARVED_SECONDS` goes
before all. One whom others' leaving does not help (`unplaced`) stands in no line: its pod waits by itself.

A model is asked to leave in two steps. Its door is closed first: no router sends it new calls. It goes when every
router has told, later than that, that none of its calls runs. So no answer is ever cut, and a closed door opens again
when the others have gone.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dormouse_operator.decide.places import Place, place
from dormouse_operator.decide.pool import (
    PLACING_SECONDS,
    Contender,
    Ease,
    Key,
    ease,
    gone_out,
    holders,
    rivals,
    since,
    starved,
)


@dataclass(frozen=True)
class Turn:
    """What a model may do now."""

    go: bool
    """It may have pods."""
    leaving: bool = False
    """Its door is closed."""
    full: bool = False
    """Somebody waits: no more pods than it has."""
    place: Place | None = None
    successor: Key | None = None
    """Who gets what it leaves."""


LATER = Turn(go=False)
"""The turn of a model that is not in the pool yet."""


def decide(pool: Sequence[Contender], now: float, least_stay: float) -> dict[Key, Turn]:
    """The turn of every model of one pool. `least_stay`: seconds a busy model keeps its devices once it is ready."""
    line = sorted((c for c in pool if _in_line(c)), key=lambda c: _order(c, now))
    back = _set_back(line, now)
    granted = _grants(pool, line)
    guessed = _guesses(pool, line, granted)
    leaving = _leaving(pool, line, granted, now, least_stay)
    turns: dict[Key, Turn] = {}
    awake = _awake(pool)
    for c in pool:
        waits = any(rivals(c, w) for w in line if w.key != c.key)
        told = place(c, line, pool, leaving, now, least_stay) if c in line and c.key not in granted else None
        successor = leaving.get(c.key)
        if c.guess and c.granted and not c.nodes and (c.homeless or waits):
            turns[c.key] = Turn(go=False, leaving=True)  # nothing is free after all
        elif c.hopeless and c.wanted:
            turns[c.key] = Turn(go=c.granted or not _limited(c, awake), full=waits)
        elif successor is not None:
            turns[c.key] = Turn(go=not gone_out(c), leaving=True, full=True, successor=successor)
        else:
            go = (c.granted and c.key not in back) or c.key in granted or c.key in guessed
            turns[c.key] = Turn(go=go, full=waits, place=told)
    return turns


def to_do(pool: Iterable[Contender], turns: Mapping[Key, Turn]) -> list[Key]:
    """Models that are not yet as their turn says."""
    return [c.key for c in pool if _differs(c, turns[c.key])]


# ----------------------------------------------------------------------------------------------------- the line


def _in_line(c: Contender) -> bool:
    """Wanted, and without a place: it has no pod yet, or one that found no node."""
    return c.wanted and not c.guess and not c.hopeless and not (c.granted and c.nodes)


def _order(c: Contender, now: float) -> tuple[bool, bool, int, float, Key]:
    """Who has a pod already is being placed; then the starved, then by priority and by waiting."""
    hungry = starved(c, now)
    return (not c.granted, not hungry, 0 if hungry else -c.priority, since(c, now), c.key)


def _set_back(line: Sequence[Contender], now: float) -> frozenset[Key]:
    """Those whose pod finds no device while one of higher priority waits: it goes, lest the device be given to it."""
    asking = [c for c in line if not c.granted]
    homeless = [c for c in line if c.granted and c.homeless and not starved(c, now)]
    return frozenset(c.key for c in homeless if any(w.priority > c.priority and rivals(w, c) for w in asking))


def _grants(pool: Sequence[Contender], line: Sequence[Contender]) -> frozenset[Key]:
    """Who gets a pod now, of those that have none: the first of the line, unless one before it is still placed."""
    awake = _awake(pool)
    placing = [c for c in line if c.granted]
    found: set[Key] = set()
    for c in line:
        if c.granted or _limited(c, awake):
            continue
        first = not any(rivals(c, other) for other in placing)
        placing.append(c)
        if first and not c.pods:
            awake[c.profile] += 1
            found.add(c.key)
    return frozenset(found)


def _guesses(pool: Sequence[Contender], line: Sequence[Contender], granted: frozenset[Key]) -> frozenset[Key]:
    """Who gets a pod though nobody called: while nobody else waits, and no other guess is being placed."""
    awake = _awake(pool)
    awake.update(c.profile for c in pool if c.key in granted)
    placing = [*line, *(c for c in pool if c.guess and c.granted and not c.nodes)]
    found: set[Key] = set()
    for c in sorted(pool, key=lambda c: c.key):
        free = c.guess and c.wanted and not c.granted and not c.pods and not _limited(c, awake)
        if free and not any(rivals(c, other) for other in placing):
            placing.append(c)
            awake[c.profile] += 1
            found.add(c.key)
    return frozenset(found)


def _awake(pool: Iterable[Contender]) -> Counter[str]:
    """Models of each profile that have pods, or will have."""
    return Counter(c.profile for c in pool if c.granted or c.pods)


def _limited(c: Contender, awake: Mapping[str, int]) -> bool:
    # its own pods, still ending, do not count against it
    return c.limit is not None and awake.get(c.profile, 0) - bool(c.pods) >= c.limit


# ------------------------------------------------------------------------------------------------ who makes room


def _leaving(
    pool: Sequence[Contender], line: Sequence[Contender], granted: frozenset[Key], now: float, least_stay: float
) -> dict[Key, Key]:
    """Who is asked to leave, and for whom."""
    found: dict[Key, Key] = {}
    awake, limits = _awake(pool), set[str]()
    for heir in line:
        if heir.key in granted or not (heir.homeless or _first_of_limited(heir, awake, limits)):
            continue
        if heir.homeless and _freed(heir, pool, now) >= heir.count:
            continue
        there = [c for c in holders(heir, pool) if c.key not in found]
        able = [c for c in there if ease(c, heir, now, least_stay) is not Ease.STAYS]
        for c in _cheapest(heir, able, now, least_stay):
            if ease(c, heir, now, least_stay) is not Ease.GOING:
                found[c.key] = heir.key
    return found


def _first_of_limited(heir: Contender, awake: Mapping[str, int], limits: set[str]) -> bool:
    if heir.granted or heir.profile in limits or not _limited(heir, awake):
        return False
    limits.add(heir.profile)
    return True


def _freed(heir: Contender, pool: Iterable[Contender], now: float) -> int:
    """Devices that were left for `heir` a moment ago, and that the scheduler has yet to give it."""
    since = heir.woken or now
    left = (c for c in pool if c.left is not None and not c.pods and rivals(c, heir))
    return sum(c.count for c in left if since <= (c.left or 0.0) and now < (c.left or 0.0) + PLACING_SECONDS)


def _cheapest(heir: Contender, able: Sequence[Contender], now: float, least_stay: float) -> list[Contender]:
    """The fewest that have to go, easiest first and of those the least recently used; devices must be of one node."""

    def order(c: Contender) -> tuple[int, float, Key]:
        return (ease(c, heir, now, least_stay), c.last_used, c.key)

    able = sorted(able, key=order)
    if not heir.homeless:
        return able[:1]
    options: list[tuple[bool, list[tuple[int, float, Key]], list[Contender]]] = []
    for node in dict.fromkeys(node for c in able for node in c.nodes):
        chosen: list[Contender] = []
        devices = 0
        for c in able:
            if node in c.nodes and devices < heir.count:
                chosen.append(c)
                devices += c.nodes[node]
        # the node may have some devices free already, so too few are better than none
        options.append((devices < heir.count, [order(c) for c in reversed(chosen)], chosen))
    return min(options, key=lambda option: option[:2])[2] if options else []


def _differs(c: Contender, turn: Turn) -> bool:
    if turn.leaving:
        return c.leaving is None or (c.granted and not turn.go)
    if c.granted and not turn.go:
        return True
    return (turn.go and c.wanted and not c.granted) or (c.granted and c.leaving is not None)
