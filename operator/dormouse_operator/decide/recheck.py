"""When to look again at a model that is blocked by what no watch of ours tells of. Pure.

A claim of the user's own, an object of somebody else's under our name, a quota, a policy: they change without an event
that has our label. So they are read again, soon at first and then seldom.
"""

from datetime import datetime

from dormouse_api.conditions import ConditionType
from dormouse_operator.observed import Model

SOONEST = 5.0
LATEST = 60.0


def again_in(model: Model, now: float) -> float:
    """Seconds until the next look: the longer it has not been Ready, the later."""
    ready = next((c for c in model.status.conditions or () if c.type == ConditionType.READY.value), None)
    if ready is None or ready.status == "True":
        return SOONEST
    age = now - datetime.fromisoformat(ready.last_transition_time).timestamp()
    return min(LATEST, max(SOONEST, age / 4))
