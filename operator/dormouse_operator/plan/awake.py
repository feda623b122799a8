"""Whether the runtime shall have pods now, and what its Deployment remembers of that. Pure.

What is wanted (lease, demand, minReplicas), less a cooldown, less what the model's turn on a full accelerator allows.
"""

import math
from dataclasses import dataclass, replace

from dormouse_api.ahead import Prewarm
from dormouse_api.lease import Wish
from dormouse_operator.decide import cooldown, prewarm
from dormouse_operator.decide.autoscale import calm_seconds
from dormouse_operator.decide.eviction import Turn
from dormouse_operator.decide.pool import AGAIN_SECONDS
from dormouse_operator.decide.replicas import Bounds, Scale, decide
from dormouse_operator.observed import Observed
from dormouse_operator.plan.runtime import Marks

GUESS_SECONDS = 60.0
"""Until a guess that finds no room is made again."""
SETTLED_SECONDS = 10.0
"""After a model made room for another: a Lease written within it may still be the word of the calls before."""


@dataclass(frozen=True)
class Awake:
    """The decision. `wanted`: it would have pods if it could."""

    scale: Scale
    wanted: bool
    marks: Marks
    closed: bool
    """No new calls are to come: its Service finds no pods."""
    ahead: prewarm.Wanted
    """What schedules and history want."""
    prewarmed: Prewarm | None
    """What the status shall tell of that."""


def wants(o: Observed, now: float) -> Scale:
    """How many pods it would have if it were alone."""
    resting = cooldown.in_force(o.model, o.profile, now)
    if resting is not None:
        return Scale(0, cooldown.ends(resting))
    ahead = prewarm.wanted(o.model, o.runtime, now)
    alone = decide(_wish(o), bounds(o, ahead.replicas), o.demand, now, o.runtime.replicas if o.runtime else 0)
    times = [at for at in (alone.look_at, ahead.look_at) if at is not None]
    guess = alone.replicas == 0 and ahead.guess
    return Scale(1 if guess else alone.replicas, min(times, default=None), guess)


def awake(o: Observed, now: float) -> Awake:
    """How many pods it has now."""
    alone = wants(o, now)
    scale = alone if o.turn is None else _in_turn(o, o.turn, alone, now)
    wanted = alone.replicas > 0 and not (alone.guess and scale.replicas == 0)
    ahead = prewarm.wanted(o.model, o.runtime, now)
    marks = Marks(_woken_at(o, scale, ahead, now), _asked_at(o, wanted, scale, now), _turned_out(o, scale, now))
    leaving = o.turn is not None and o.turn.leaving
    ending = scale.replicas == 0 and marks.turned_out is not None and bool(o.pods_of("runtime"))
    told = prewarm.after(o.model, prewarm.Moment(now, _wish(o), o.runtime, scale.replicas, ahead))
    return Awake(scale, wanted, marks, leaving or ending, ahead, told)


def bounds(o: Observed, scheduled: int = 0) -> Bounds:
    """The scaling bounds of the spec and of a schedule's window; a pod's load defaults to what its profile decodes at
    once.
    """
    scaling = o.model.spec.scaling
    slots = o.profile.spec.max_num_seqs if o.profile else 64
    starts = [start.seconds for start in o.model.status.cold_starts or ()]
    calm = calm_seconds(max(starts, default=None))
    return Bounds(max(scaling.min_replicas, scheduled), scaling.max_replicas, scaling.target_in_flight or slots, calm)


def _wish(o: Observed) -> Wish | None:
    """The wish in the Lease; not one that was there already when the model made room, for it would ask for it back."""
    left = o.runtime.turned_out if o.runtime is not None and o.runtime.replicas == 0 else None
    if left is not None and o.wish is not None and o.wish.renewed <= left + SETTLED_SECONDS:
        return None
    return o.wish


def _in_turn(o: Observed, turn: Turn, alone: Scale, now: float) -> Scale:
    least = max(o.model.spec.scaling.min_replicas, prewarm.wanted(o.model, o.runtime, now).replicas)
    replicas = alone.replicas if turn.go else 0
    if turn.full and replicas:
        # one more of its pods could take what somebody was asked to leave for the first of the line
        present = sum(1 for pod in o.pods_of("runtime") if pod.node and not pod.deleting)
        replicas = min(replicas, max(1, least, present))
    changes = turn.leaving or turn.full or turn.place is not None or replicas < alone.replicas
    pause = GUESS_SECONDS if alone.guess and replicas == 0 else AGAIN_SECONDS
    again = min(alone.look_at or math.inf, now + pause) if changes else alone.look_at
    return replace(alone, replicas=replicas, look_at=again)


def _woken_at(o: Observed, scale: Scale, ahead: prewarm.Wanted, now: float) -> float | None:
    """The moment of the present wake: the lease as it was when replicas left zero, or when its turn came, or when it
    was started ahead; kept until they return to it.
    """
    if scale.replicas == 0:
        return None
    if o.runtime is not None and o.runtime.replicas > 0:
        return o.runtime.woken_at
    if o.runtime is not None and o.runtime.asked_at is not None:
        return now
    if o.wish is not None and o.wish.ends > now:
        return o.wish.renewed
    return now if ahead.ahead is not None else None


def _asked_at(o: Observed, wanted: bool, scale: Scale, now: float) -> float | None:
    """Since when it waits for its turn."""
    if not wanted or scale.replicas > 0 or o.turn is None:
        return None
    known = o.runtime.asked_at if o.runtime is not None else None
    return now if known is None else known


def _turned_out(o: Observed, scale: Scale, now: float) -> float | None:
    """When its door was closed; and from then on, until its next turn, when it made room."""
    known, had = (o.runtime.turned_out, o.runtime.replicas > 0) if o.runtime is not None else (None, False)
    leaving = o.turn is not None and o.turn.leaving
    if scale.replicas > 0:
        return (known or now) if leaving else None
    if had:
        return now if leaving else None
    return known
