"""What the status tells of a model's way through the line, and what its turn took. Pure.

The line as it was last written is the memory of when the wait began and whom the model follows.
"""

from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.lease import parse_time
from dormouse_api.status import InferenceModelStatus, Line, Swap
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.places import Place
from dormouse_operator.decide.pool import PLACING_SECONDS

KEEP = 5
BEGUN = frozenset({Reason.PULLING, Reason.STORAGE_FAILED})
"""Of a pull that has its place: it works, or its volume does not come."""


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


def starting(old: Line, now: float) -> Line:
    """Its turn has come."""
    return old.model_copy(update={"position": 0, "seconds": None, "turn_at": old.turn_at or stamp(now)})


def placing_until(line: Line | None, now: float) -> float | None:
    """Until when the scheduler may take to give a model what somebody left for it; None where it was in no line.

    A scheduler tries a pod it found no place for again only after a back-off (10 s by default, Kubernetes'
    podMaxBackoffSeconds), and the pod says all that time that there is no device.
    """
    if line is None:
        return None
    return (now if line.turn_at is None else parse_time(line.turn_at)) + PLACING_SECONDS


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


def news(old: list[Swap] | None, new: list[Swap] | None) -> list[Swap]:
    """Turns that were not there before."""
    return [swap for swap in new or () if swap not in (old or ())]


def waited(old: InferenceModelStatus, new: InferenceModelStatus, now: float) -> dict[str, float]:
    """Seconds in each line that has come to its end: it serves, or its pull has begun."""
    found: dict[str, float] = {}
    if old.line is not None and new.line is None and new.ready_replicas:
        found["accelerator"] = max(0.0, now - parse_time(old.line.since))
    begun = any(c.type == ConditionType.MODEL_PULLED.value and c.reason in BEGUN for c in new.conditions or ())
    if old.queue is not None and new.queue is None and begun:
        found["pull"] = max(0.0, now - parse_time(old.queue.since))
    return found
