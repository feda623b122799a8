"""Which models a worker may take lines of next, so that models which share devices are seldom swapped. Pure.

Models of one RuntimeProfile may share its devices, and a worker cannot know how many there are. So among those that
sleep only one is woken at a time, when nothing is left to do for the one before it; those that are awake are all
worked on. A model that has been worked on for its turn no longer keeps others asleep: then, and only then, a batch of a
thousand hours makes room for a small one. Several workers come to the same order, for they see the same chunks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

LINGER = 2.0
"""Seconds after its last line in which a model still counts as worked on: another batch of it may be about to come."""
TURN = 900.0
"""Seconds of work after which a model may be made to make room."""


class OpenModel(NamedTuple):
    """A model of which lines are open, over all batches in progress."""

    model: str
    held: bool
    """Another worker has some of them in hand."""
    lines: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model of which there are open lines."""

    model: str
    awake: bool
    pool: str | None
    """What it shares devices with: its profile. None: it is not known to anybody, and shares nothing."""
    held: bool = False
    """Another worker has lines of it in hand."""


@dataclass(frozen=True, slots=True)
class Working:
    """A model that this worker works on, or did until a moment ago."""

    model: str
    since: float
    last: float
    """When a line of it was last in hand."""
    room: bool
    """Whether more lines are wanted."""


@dataclass(frozen=True, slots=True)
class Plan:
    """For `Work.claim`."""

    prefer: tuple[str, ...] = ()
    avoid: frozenset[str] = frozenset()


def plan(candidates: Sequence[Candidate], working: Sequence[Working], now: float) -> Plan:
    """What to claim next."""
    ours = {each.model: each for each in working}
    full = {each.model for each in working if not each.room}
    awake = [c.model for c in candidates if c.awake]
    prefer = sorted((model for model in awake if model not in full), key=lambda model: model not in ours)
    asleep = {c.model for c in candidates if not c.awake and barred(c.model, candidates, working, now)}
    return Plan(tuple(prefer), frozenset(full | asleep))


def barred(model: str, candidates: Collection[Candidate], working: Collection[Working], now: float) -> bool:
    """Whether `model`, which sleeps, must not be woken now."""
    by_name = {candidate.model: candidate for candidate in candidates}
    pool = by_name[model].pool if model in by_name else None
    if pool is None:
        return False
    ours = {each.model: each for each in working}
    mine = ours.get(model)
    for other in candidates:
        if other.model == model or other.pool != pool:
            continue
        theirs = ours.get(other.model)
        if theirs is not None and _keeps(theirs, now):
            first = other.awake or mine is None or (theirs.since, theirs.model) < (mine.since, mine.model)
        else:
            had_its_turn = theirs is not None and now - theirs.since >= TURN
            first = other.held and not had_its_turn and (other.awake or mine is None or other.model < model)
        if first:
            return True
    return False


def _keeps(work: Working, now: float) -> bool:
    """Whether others of its pool stay asleep for it."""
    return now - work.since < TURN and now - work.last < LINGER
