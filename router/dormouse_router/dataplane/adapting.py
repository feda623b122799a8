"""Whether a call by an adapter's name can go to an engine now, must wait, or never will. Pure."""

from dormouse_api.conditions import is_failure
from dormouse_router.catalog.record import Record
from dormouse_router.request import Refusal

LATER = 5.0


def waits(present: Record, called: Record) -> bool:
    """Whether the adapter that `called` names is still to come; False also where none is named. `present`: the model
    as it is now. Refusal 404 where the adapter is gone, 503 where it failed, with the cause."""
    name = called.adapter
    if name is None:
        return False
    if name not in [adapter.name for adapter in present.spec.adapters or ()]:
        text = f"The adapter '{called.called}' was removed while this request waited for it."
        raise Refusal(404, text, code="model_not_found", param="model")
    told = next((status for status in present.status.adapters or () if status.name == name), None)
    if told is None or told.ready:
        return told is None
    if is_failure(told.reason):
        text = f"The adapter '{called.called}' cannot be served: {told.message} ({told.reason})"
        raise Refusal(503, text, code=told.reason, retry_after=LATER)
    return True


def late(present: Record, called: Record, waited: float) -> Refusal:
    """The refusal of a call that waited for its adapter for as long as it may."""
    told = next((status for status in present.status.adapters or () if status.name == called.adapter), None)
    doing = f"{told.reason}: {told.message}" if told is not None else "the operator has not looked at it yet"
    text = f"The adapter '{called.called}' was not there within {waited:.0f} s ({doing}). Try again later."
    return Refusal(503, text, code="model_loading", retry_after=LATER)
