"""Who leads, judged from one Lease and a clock of one's own. Pure.

The times within the Lease are for people and are never compared: clocks of nodes differ and jump. What counts is how
long ago *this* process saw the record change, and what its holder promised: not to act any more when it could not renew
for so long.
"""

from dataclasses import dataclass
from typing import Any

from dormouse_api.lease import micro_time

Object = dict[str, Any]

LONGEST_SECONDS = 300
"""A longer promise in the record is taken for this: it was not written by an operator."""


@dataclass(frozen=True)
class Terms:
    """`lease`: seconds after which a record that does not change is void."""

    lease: float

    @property
    def deadline(self) -> float:
        """Seconds a leader may act after it asked for the last renewal that succeeded: the rest is the distance between
        its last write and the first of the next leader.
        """
        return self.lease * 2 / 3

    @property
    def beat(self) -> float:
        """Seconds between two renewals."""
        return self.lease / 7.5

    @property
    def glance(self) -> float:
        """Seconds between two looks of a standby: the most that a clean hand-over waits for it."""
        return min(1.0, self.lease / 15)


@dataclass(frozen=True)
class Record:
    """What the Lease says. `holder` is empty when the last one let it go."""

    holder: str = ""
    seconds: int = 0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0


@dataclass(frozen=True)
class Sight:
    """A record, and since when (own clock, seconds) it has been seen unchanged."""

    record: Record
    since: float


def read(spec: Object) -> Record:
    """The record in a Lease's spec; what is missing or no text or number is as if nobody held it."""

    def text(name: str) -> str:
        return found if isinstance(found := spec.get(name), str) else ""

    def number(name: str) -> int:
        return found if isinstance(found := spec.get(name), int) else 0

    return Record(
        holder=text("holderIdentity"),
        seconds=number("leaseDurationSeconds"),
        acquired=text("acquireTime"),
        renewed=text("renewTime"),
        transitions=number("leaseTransitions"),
    )


def see(last: Sight | None, found: Record | None, now: float) -> Sight:
    """What is known after a look that found this record, or (None) no Lease.

    A Lease that somebody deleted binds as if it were there: its holder may not know yet.
    """
    if found is None:
        return last or Sight(Record(), now)
    return last if last is not None and last.record == found else Sight(found, now)


def void_in(sight: Sight, me: str, now: float) -> float:
    """Seconds until `me` may claim the Lease; 0: now."""
    record = sight.record
    if record.holder in ("", me):
        return 0.0
    return max(0.0, sight.since + min(record.seconds, LONGEST_SECONDS) - now)


def claim(record: Record, me: str, terms: Terms, wall: float) -> Object:
    """The Lease's spec by which `me` takes or keeps it; `wall` in seconds since the epoch, for people to read."""
    mine = record.holder == me
    renewed = micro_time(wall)
    if renewed == record.renewed:  # a clock that was set back to that very moment: others must see a change
        renewed = micro_time(wall + 2e-6)
    return {
        "holderIdentity": me,
        "leaseDurationSeconds": max(1, round(terms.lease)),
        "acquireTime": record.acquired if mine and record.acquired else micro_time(wall),
        "renewTime": renewed,
        "leaseTransitions": record.transitions if mine else record.transitions + 1,
    }


def released(record: Record, wall: float) -> Object:
    """The Lease's spec by which its holder lets it go: nobody holds it, and nobody need wait."""
    spec: Object = {"leaseDurationSeconds": 1, "renewTime": micro_time(wall), "leaseTransitions": record.transitions}
    return spec | ({"acquireTime": record.acquired} if record.acquired else {})
