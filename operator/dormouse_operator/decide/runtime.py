"""How the runtime pods are doing. Pure. A wake is judged from its pod: the Deployment's own clock never trips."""

from dataclasses import dataclass

from pydantic import ValidationError

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.runtime import RuntimeState
from dormouse_operator.decide.troubles import trouble
from dormouse_operator.observed import Exit, Observed, Pod

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


def view(o: Observed, now: float) -> RuntimeView:
    """The pods of the runtime, and what keeps the first of them from serving."""
    alive = [p for p in o.pods_of("runtime") if not p.deleting and p.phase in ("Pending", "Running", "Unknown")]
    ready = [p for p in alive if p.ready_at is not None]
    if not alive:
        return RuntimeView(0, 0, failure=_refused(o))
    if ready:
        return RuntimeView(len(alive), len(ready), ready[0])
    pod = alive[0]
    hindered = trouble(pod, now)
    if hindered is not None:
        return RuntimeView(len(alive), 0, pod, hindered.failure, look_at=hindered.look_at)
    end = pod.exit or pod.last_exit
    failure, state = _ended(pod, end) if end is not None else (None, None)
    return RuntimeView(len(alive), 0, pod, failure, state)


def _refused(o: Observed) -> Failure | None:
    if o.runtime is None or o.runtime.refused is None or o.runtime.replicas == 0:
        return None
    message = f"the cluster refuses the runtime pod: {o.runtime.refused}"
    return Failure(reason=Reason.UNSCHEDULABLE, message=message[:2000])


def _ended(pod: Pod, end: Exit) -> tuple[Failure | None, RuntimeState | None]:
    state = read_state(end)
    if state is not None and state.failure is not None:
        return Failure(reason=state.failure.reason, message=state.failure.message), state
    if end.reason == "OOMKilled":
        message = "the runtime was killed for using more memory than its limit: choose quantization int4, a smaller "
        message += "engine.maxModelLen, or a profile with a higher memory limit"
        return Failure(reason=Reason.OUT_OF_MEMORY, message=message), None
    if pod.restarts < CRASHES:
        return None, None
    said = end.message.strip().splitlines()
    words = f": {said[-1][:500]}" if said else f"; see kubectl logs --previous {pod.name}"
    return Failure(reason=Reason.ENGINE_FAILED, message=f"the runtime ended with exit code {end.code}{words}"), None


def read_state(end: Exit) -> RuntimeState | None:
    """The supervisor's last words, or None."""
    if not end.message.lstrip().startswith("{"):
        return None
    try:
        return RuntimeState.model_validate_json(end.message)
    except ValidationError:
        return None
