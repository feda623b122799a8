"""How long a model whose start failed is left alone. Pure; what is remembered is in the model's status.

Only ends of the runtime itself count. An image that cannot be pulled or a pod without a node is tried again by the
cluster as long as somebody calls, and costs no start.
"""

from datetime import datetime

from dormouse_api.conditions import Reason
from dormouse_api.names import digest
from dormouse_api.results import Failure
from dormouse_api.runtime import Stage
from dormouse_api.status import Cooldown
from dormouse_operator.decide import adapting
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.runtime import CRASHES, RuntimeView
from dormouse_operator.observed import Model, Profile

LONGEST_SECONDS = 3600.0
COUNTED = frozenset(
    {Reason.ENGINE_FAILED, Reason.OUT_OF_MEMORY, Reason.QUANTIZATION_FAILED, Reason.UNSUPPORTED, Reason.CORRUPT}
)


def in_force(model: Model, profile: Profile | None, now: float) -> Cooldown | None:
    """The cooldown that still lasts."""
    return lasting(model.status.cooldown, model, profile, now)


def lasting(cooldown: Cooldown | None, model: Model, profile: Profile | None, now: float) -> Cooldown | None:
    """`cooldown`, where it is of the present spec and profile and not over yet."""
    known = _of_present(cooldown, model, profile)
    return known if known is not None and ends(known) > now else None


def ends(cooldown: Cooldown) -> float:
    """When it is over, in seconds since the epoch."""
    return datetime.fromisoformat(cooldown.until).timestamp()


def after(model: Model, profile: Profile | None, view: RuntimeView, first: float, now: float) -> Cooldown | None:
    """What the status shall remember: another failure, the ones before, or nothing once a start went well."""
    known = _of_present(model.status.cooldown, model, profile)
    if view.ready:
        return None
    if _counted(model, view):
        return model.status.cooldown  # of another key, too: forgotten, its pod would be counted again for this one
    if known is not None and ends(known) > now:
        return known
    if view.failure is None or not _failed_start(view, view.failure):
        return known
    failures = known.failures + 1 if known is not None else 1
    seconds = min(LONGEST_SECONDS, first * 2.0 ** min(failures - 1, 16))
    return Cooldown(
        failures=failures,
        until=stamp(now + seconds),
        key=_key(model, profile),
        reason=view.failure.reason.value,
        message=view.failure.message[:3800],
        ended_at=_ended_at(view),
    )


def outlived(model: Model, profile: Profile | None, view: RuntimeView) -> bool:
    """Whether what `view` tells of was counted for another spec or profile: only its pod is not gone yet."""
    return _counted(model, view) and _of_present(model.status.cooldown, model, profile) is None


def failure(cooldown: Cooldown) -> Failure:
    """The cause, and when it is tried again."""
    count = "its start failed" if cooldown.failures == 1 else f"its last {cooldown.failures} starts failed"
    tail = f"; {count}: tried again from {cooldown.until} on, or at once when the spec or its profile changes"
    return Failure(reason=Reason(cooldown.reason), message=f"{cooldown.message[:1700]}{tail}")


def _failed_start(view: RuntimeView, why: Failure) -> bool:
    """Whether the start failed, and will again. What ends after it has served is started anew at once."""
    last = view.passed.failure if view.passed is not None else None
    if why.reason not in COUNTED and (last is None or last.reason is not why.reason):
        return False  # and not the supervisor's own last word, which counts whatever its reason
    if view.passed is not None:
        return all(entry.stage is not Stage.READY for entry in view.passed.timeline)
    return view.pod is not None and view.pod.restarts >= CRASHES


def _counted(model: Model, view: RuntimeView) -> bool:
    """Whether the container's end that `view` tells of has led to the cooldown in the status."""
    known, at = model.status.cooldown, _ended_at(view)
    if known is None or view.failure is None or at is None:
        return False
    return (known.ended_at, known.reason) == (at, view.failure.reason.value)


def _ended_at(view: RuntimeView) -> str | None:
    end = (view.pod.exit or view.pod.last_exit) if view.pod is not None else None
    return stamp(end.finished) if end is not None and end.finished else None


def _of_present(cooldown: Cooldown | None, model: Model, profile: Profile | None) -> Cooldown | None:
    return cooldown if cooldown is not None and cooldown.key == _key(model, profile) else None


def _key(model: Model, profile: Profile | None) -> str:
    what = [str(model.generation), profile.spec.model_dump_json() if profile is not None else ""]
    # the quantized copy that a shortage of memory has led to is another thing to start
    return digest(*what, *(["shrunk"] if adapting.shrunk(model, profile) else []))
