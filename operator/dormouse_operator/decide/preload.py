"""The first start of a model that shall not wait for its first caller (`scaling.preload`). Pure.

Nothing is remembered for it: it stands in for the wish that nobody has written yet, and ends with the first one, or
with the first start ahead of one.
"""

from dormouse_api.conditions import ConditionType
from dormouse_api.lease import Wish, parse_time
from dormouse_operator.observed import Model

MADE = (ConditionType.MODEL_PULLED, ConditionType.QUANTIZED)


def wish(model: Model, written: Wish | None) -> Wish | None:
    """The wish that counts: the Lease's, if it has one. A preloaded model is wanted from the moment its weights are
    whole, for as long as a caller would have waited, and once it has served for as long as after a call."""
    scaling, starts = model.spec.scaling, model.status.cold_starts
    ahead = model.status.prewarm is not None and model.status.prewarm.starts > 0
    if written is not None or not scaling.preload or ahead:
        return written
    if starts:
        return Wish(parse_time(starts[-1].at) + starts[-1].seconds, scaling.idle_seconds)
    conditions = model.status.conditions or ()
    made = {c.type: parse_time(c.last_transition_time) for c in conditions if c.type in MADE and c.status == "True"}
    if ConditionType.MODEL_PULLED not in made:
        return None
    return Wish(max(made.values()), scaling.hold_seconds + scaling.idle_seconds)
