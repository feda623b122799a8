"""One model as the router knows it: the InferenceModel of the API server, read into one frozen value.

Owns how an object of the API becomes a record and what its conditions mean to a caller. Knows nothing of endpoints,
of requests, nor of where the object came from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dormouse_api.conditions import PERMANENT, ConditionType, Reason, is_failure
from dormouse_api.lease import parse_time
from dormouse_api.model import InferenceModelSpec
from dormouse_api.names import ANNOTATION_REQUEST
from dormouse_api.route import Defaults
from dormouse_api.runtime import Stage
from dormouse_api.status import Condition, InferenceModelStatus
from dormouse_router.access.rules import closed

NOTHING = Defaults()
Key = tuple[str, str]
"""(namespace, metadata.name)"""

_STARTING = {
    "requested": "Scheduling",
    "created": "Scheduling",
    "scheduled": "Starting",
    "started": "Starting",
    **{stage.value: stage.value.capitalize() for stage in Stage},
}
"""What callers are told of a stage of `status.starting`. Starting: a node makes the container."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The way a call came to a model that was not named itself."""

    route: Key
    variant: str
    """What answers and metrics call the model that was taken."""
    defaults: Defaults
    left: tuple[str, ...] = ()
    """The models of the route that may step in for it, in order."""

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer tells of it."""
        route, variant = "/".join(self.route).encode(), self.variant.encode()
        return ((b"x-dormouse-route", route), (b"x-dormouse-variant", variant))


@dataclass(frozen=True, slots=True)
class Served:
    """An object of the API that clients call by name."""

    namespace: str
    name: str
    """metadata.name; of a model also the name its engine knows it by."""
    uid: str
    created: float
    """Seconds since the epoch."""
    version: str
    """metadata.resourceVersion."""
    served: tuple[str, ...]
    """Every name a client may call it by; the first is `name`, the last `<namespace>/<name>`."""

    # made once: every call asks for them
    key: Key = field(init=False, repr=False, compare=False)
    full_name: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", (self.namespace, self.name))
        object.__setattr__(self, "full_name", f"{self.namespace}/{self.name}")


@dataclass(frozen=True, slots=True)
class Record(Served):
    """An InferenceModel. `spec` and `status` are the API's own types; the rest is what the router asks most."""

    spec: InferenceModelSpec
    status: InferenceModelStatus
    deleting: bool
    ready: bool
    """The Ready condition: a call sent now will be answered, perhaps after a wake."""
    reason: str
    """Reason of the Ready condition, such as ScaledToZero, Pulling or Gated. Pending where nobody has said yet."""
    message: str
    closed: bool = False
    """Not everybody sees it: `access.rules.may` is to be asked."""
    request: str = ""
    """What stands for the request that made it (ANNOTATION_REQUEST)."""
    taken: Taken | None = None
    """By which route it was found, in the records of single calls; the catalogue's own have none."""
    adapter: str | None = None
    """Which of its adapters was named, where it was found by an adapter's name; the catalogue's own have none."""

    @property
    def called(self) -> str:
        """What its engine calls what was named: the model, or the adapter."""
        return self.name if self.adapter is None else f"{self.name}:{self.adapter}"

    @property
    def defaults(self) -> Defaults:
        """What a call gets that does not say otherwise; nothing, unless it came by a route."""
        return self.taken.defaults if self.taken is not None else NOTHING

    @property
    def failed(self) -> bool:
        """Waiting will not help: a call is refused at once with `message`."""
        return not self.ready and is_failure(self.reason)

    @property
    def permanent(self) -> bool:
        """A failure that no retry cures: somebody must act first."""
        return self.failed and self.reason in PERMANENT

    @property
    def pulled(self) -> bool:
        """The weights are on the volume."""
        conditions = self.status.conditions or ()
        return any(c.type == ConditionType.MODEL_PULLED and c.status == "True" for c in conditions)

    @property
    def context_length(self) -> int | None:
        """Tokens one sequence may have as served: the model's own length, or less where the spec says so."""
        known = [length for length in (self.status.context_length, self.spec.engine.max_model_len) if length]
        return min(known) if known else None

    @property
    def stage(self) -> str:
        """What the model is doing on its way to serving, for people who wait: Scheduling, Pulling 43%, Loading, ..."""
        live = self.status.starting
        if live is not None and live.stages and self.reason in _AWAKENING:
            return _STARTING.get(live.stages[-1].stage, Reason.WAKING.value)
        if self.reason in (Reason.PULLING, Reason.QUANTIZING) and self.status.progress:
            return f"{self.reason} {self.status.progress}"
        if self.reason == Reason.QUEUED and self.status.queue is not None:
            return f"{self.reason} {self.status.queue.position} of {self.status.queue.of}"
        return Reason.WAKING.value if self.reason in _AWAKENING else self.reason

    @property
    def quantization(self) -> str:
        """What the weights are served as, as far as known: the engine's word, else the operator's, else the wish."""
        status = self.status
        if status.engine is not None:
            return status.engine.quantization
        return status.quantization or self.spec.quantization.value


_AWAKENING = (Reason.WAKING, Reason.SCALED_TO_ZERO, Reason.SERVING)
"""Reasons of a model that only has to start: whoever waits for it is why it will."""


def record_from(obj: Mapping[str, Any]) -> Record:
    """The record of an InferenceModel as the API server sends it. ValueError (pydantic's) where it is not one."""
    meta = obj["metadata"]
    spec = InferenceModelSpec.model_validate(obj.get("spec") or {})
    status = InferenceModelStatus.model_validate(obj.get("status") or {})
    condition = _ready(status)
    return Record(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        created=parse_time(meta["creationTimestamp"]),
        version=meta.get("resourceVersion", ""),
        served=_served(meta["namespace"], meta["name"], spec, status),
        spec=spec,
        status=status,
        deleting="deletionTimestamp" in meta,
        ready=condition is not None and condition.status == "True",
        reason=Reason.PENDING if condition is None else condition.reason,
        message="The operator has not looked at this model yet." if condition is None else condition.message,
        closed=closed(spec.access),
        request=(meta.get("annotations") or {}).get(ANNOTATION_REQUEST, ""),
    )


def _ready(status: InferenceModelStatus) -> Condition | None:
    return next((c for c in status.conditions or () if c.type == ConditionType.READY), None)


def _served(namespace: str, name: str, spec: InferenceModelSpec, status: InferenceModelStatus) -> tuple[str, ...]:
    """The operator's word, or what it will be: a model is callable before the operator has seen it."""
    names = status.served_names or [name, *(spec.aliases or ())]
    return tuple(dict.fromkeys([*names, f"{namespace}/{name}"]))
