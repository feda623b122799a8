"""How the runtime pods are doing. Pure. A wake is judged from its pod: the Deployment's own clock never trips."""

from dataclasses import dataclass

from pydantic import ValidationError

from dormouse_api.conditions import Reason
from dormouse_api.names import COMPONENT_RUNTIME
from dormouse_api.results import Failure
from dormouse_api.runtime import RuntimeState
from dormouse_operator.decide import adapting
from dormouse_operator.decide.troubles import Trouble, refused, rejected, trouble
from dormouse_operator.observed import Exit, Notice, Observed, Pod

KILLED = frozenset({137, 143})
"""Exit codes of SIGKILL and SIGTERM: somebody else ended it."""
CRASHES = 2
"""Restarts without a word of the supervisor's after which a start counts as failed."""


@dataclass(frozen=True)
class RuntimeView:
    """`pod` is the one a waiting caller waits for (the oldest that is not going away)."""

    pods: int
    ready: int
    pod: Pod | None = None
    failure: Failure | None = None
    passed: RuntimeState | None = None
    """The last state of a start in which every engine failed."""
    look_at: float | None = None
    hint: Failure | None = None
    """What hinders the start, from the first moment; a `failure` only once it lasts."""


def view(o: Observed, now: float) -> RuntimeView:
    """The pods of the runtime, and what keeps the first of them from serving."""
    alive = [p for p in o.pods_of("runtime") if not p.deleting and p.phase in ("Pending", "Running", "Unknown")]
    ready = [p for p in alive if p.ready_at is not None]
    if ready:
        return RuntimeView(len(alive), len(ready), ready[0])
    hindered = trouble(o, alive[0], now) if alive else _absent(o, now)
    if hindered is None and (not alive or alive[0].started_at is None):
        hindered = rejected(o, COMPONENT_RUNTIME, now)
    pod = alive[0] if alive else None
    if hindered is not None:
        hint, failure, look_at = hindered.cause, hindered.failure(now), hindered.look_at(now)
        return RuntimeView(len(alive), 0, pod, failure, look_at=look_at, hint=hint)
    end = (pod.exit or pod.last_exit) if pod is not None else None
    climbs = o.model.spec.engine.adapt and pod is not None and pod.restarts <= adapting.RESTARTS
    failure, state = _ended(pod, end, climbs) if pod is not None and end is not None else (None, None)
    return RuntimeView(len(alive), 0, pod, failure, state, hint=failure)


def _absent(o: Observed, now: float) -> Trouble | None:
    """Why there is no pod although there should be one: the cluster refuses it, or the one before does not end."""
    if o.runtime is None or o.runtime.replicas == 0:
        return None
    if o.runtime.refused is not None:
        return Trouble(refused("the runtime pod", Notice("FailedCreate", o.runtime.refused, now)))
    ending = [pod for pod in o.pods_of(COMPONENT_RUNTIME) if pod.deleting]
    return trouble(o, ending[0], now) if ending else None


def _ended(pod: Pod, end: Exit, climbs: bool) -> tuple[Failure | None, RuntimeState | None]:
    state = read_state(end)
    if state is not None and state.failure is not None:
        return Failure(reason=state.failure.reason, message=state.failure.message), state
    if end.reason == "OOMKilled" and climbs:
        return None, None  # its next container takes a smaller setting
    if end.reason == "OOMKilled":
        message = "the runtime was killed for using more memory than its limit: choose quantization int4, a smaller "
        message += "engine.maxModelLen, or a profile with a higher memory limit"
        return Failure(reason=Reason.OUT_OF_MEMORY, message=message), None
    if pod.restarts < CRASHES:
        return None, None
    said = end.message.strip().splitlines()
    words = f": {said[-1][:500].rstrip('.')}" if said else ""
    fix = f"look at kubectl logs --previous {pod.name}, and at the profile's image and args"
    if end.code in KILLED and not said:
        fix = f"its liveness probe fails or its node is out of memory: look at kubectl describe pod {pod.name}"
    message = f"the runtime ended with exit code {end.code}{words}: {fix}"
    return Failure(reason=Reason.ENGINE_FAILED, message=message), None


def read_state(end: Exit) -> RuntimeState | None:
    """The supervisor's last words, or None."""
    if not end.message.lstrip().startswith("{"):
        return None
    try:
        return RuntimeState.model_validate_json(end.message)
    except ValidationError:
        return None
