"""What the status tells of a model's way through the line, and what its turn took. Pure.

The line as it was last written is the memory of when the wait began and whom the model follows.
"""

from dormouse_api.lease import parse_time
from dormouse_api.status import Line, Swap
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.places import Place

KEEP = 5


def waiting(old: Line | None, place: Place, since: float) -> Line:
    """The line as it is now; `since`: when the wait began, where it is not written yet."""
    holder = "/".join(place.holder) if place.holder is not None else None
    leaves = None
    if place.position == 1 and place.asked_to_leave is not None:
        known = old.asked_to_leave if old is not None and old.holder == holder else None
        leaves = known or stamp(place.asked_to_leave)
    return Line(
        since=old.since if old is not None else stamp(since),
        position=place.position,
        of=place.of,
        holder=holder,
        asked_to_leave=leaves,
        seconds=place.seconds,
    )


def starting(old: Line) -> Line:
    """Its turn has come."""
    return old.model_copy(update={"position": 0, "seconds": None})


def served(known: list[Swap] | None, old: Line | None, ready_at: float) -> list[Swap] | None:
    """The last few turns, with the one that has just come to serve, if anybody made room for it."""
    if old is None or old.holder is None or old.asked_to_leave is None:
        return known
    swap = Swap(
        at=stamp(ready_at),
        seconds=max(0, round(ready_at - parse_time(old.asked_to_leave))),
        waited_seconds=max(0, round(ready_at - parse_time(old.since))),
        holder=old.holder,
    )
    return [*(known or []), swap][-KEEP:]
