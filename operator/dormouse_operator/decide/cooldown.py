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
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.decide.runtime import CRASHES, RuntimeView
from dormouse_operator.observed import Model, Profile

LONGEST_SECONDS = 3600.0
COUNTED = frozenset({Reason.ENGINE_FAILED, Reason.OUT_OF_MEMORY, Reason.QUANTIZATION_FAILED, Reason.UNSUPPORTED})


def in_force(model: Model, profile: Profile | None, now: float) -> Cooldown | None:
    """The cooldown that still lasts."""
    known = _known(model, profile)
    return known if known is not None and ends(known) > now else None


def ends(cooldown: Cooldown) -> float:
    """When it is over, in seconds since the epoch."""
    return datetime.fromisoformat(cooldown.until).timestamp()


def after(model: Model, profile: Profile | None, view: RuntimeView, first: float, now: float) -> Cooldown | None:
    """What the status shall remember: another failure, the ones before, or nothing once a start went well."""
    known = _known(model, profile)
    if view.ready:
        return None
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
    )


def failure(cooldown: Cooldown) -> Failure:
    """The cause, and when it is tried again."""
    count = "its start failed" if cooldown.failures == 1 else f"its last {cooldown.failures} starts failed"
    tail = f"; {count}: tried again from {cooldown.until} on, or at once when the spec or its profile changes"
    return Failure(reason=Reason(cooldown.reason), message=f"{cooldown.message[:1700]}{tail}")


def _failed_start(view: RuntimeView, why: Failure) -> bool:
    """Whether the start failed, and will again. What ends after it has served is started anew at once."""
    if why.reason not in COUNTED:
        return False
    if view.passed is not None:
        return all(entry.stage is not Stage.READY for entry in view.passed.timeline)
    return view.pod is not None and view.pod.restarts >= CRASHES


def _known(model: Model, profile: Profile | None) -> Cooldown | None:
    known = model.status.cooldown
    return known if known is not None and known.key == _key(model, profile) else None


def _key(model: Model, profile: Profile | None) -> str:
    return digest(str(model.generation), profile.spec.model_dump_json() if profile is not None else "")
