"""What a model costs and saves, in device-seconds, and how long its callers waited. Pure.

The totals in the status say until when they are counted, and what has been held since: so what is added is told by the
clock alone, whoever writes next, and a status is written only when something else of it changes anyway. Only what is
heard of calls lives in the process; it is added once an hour at the latest.
"""

from dataclasses import dataclass

from dormouse_api.lease import parse_time
from dormouse_api.status import Usage
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.observed import Observed, Tally

POD = "pod"
"""What is counted where the profile names no accelerator."""
ENDED = frozenset({"Succeeded", "Failed"})
HOUR = 3600


@dataclass(frozen=True)
class Holding:
    """What a model has of its devices at a moment."""

    resource: str
    held: int
    """Devices of its pods that have a node, those that are ending included."""
    spared: int
    """Devices that one pod would hold, were the model kept awake: while it sleeps and could be called."""


def holding(o: Observed, *, sleeps: bool) -> Holding | None:
    """None while it has no profile. `sleeps`: it has no pods on purpose, and the next call would wake it."""
    if o.profile is None:
        return None
    accelerator = o.profile.spec.accelerator
    resource, count = (accelerator.resource, accelerator.count) if accelerator is not None else (POD, 1)
    pods = sum(1 for pod in o.pods_of("runtime") if pod.node and pod.phase not in ENDED)
    return Holding(resource, pods * count, count if sleeps and not pods else 0)


def settle(old: Usage | None, present: Holding | None, tally: Tally, now: float) -> Usage | None:
    """The totals; `old` itself where nothing has changed that must be written down."""
    if present is None:
        return old
    if old is None and not present.held and not present.spared:
        return None
    if old is None:
        return Usage(at=stamp(now), resource=present.resource, held=present.held, spared=present.spared)
    same = (old.resource, old.held, old.spared) == (present.resource, present.held, present.spared)
    heard = int(tally.busy) or int(tally.waited)
    if same and not (heard and _elapsed(old, now) >= HOUR):
        return old
    return running(old, tally, now).model_copy(
        update={"resource": present.resource, "held": present.held, "spared": present.spared}
    )


def running(known: Usage, tally: Tally, now: float) -> Usage:
    """The totals as they are at `now`; whole seconds, so that they never go down."""
    elapsed = _elapsed(known, now)
    return known.model_copy(
        update={
            "at": stamp(max(now, parse_time(known.at))),
            "awake_seconds": known.awake_seconds + elapsed * known.held,
            "busy_seconds": known.busy_seconds + min(elapsed, int(tally.busy)) * known.held,
            "saved_seconds": known.saved_seconds + elapsed * known.spared,
            "waited_seconds": known.waited_seconds + int(tally.waited),
        }
    )


def _elapsed(known: Usage, now: float) -> int:
    return max(0, int(now) - int(parse_time(known.at)))
