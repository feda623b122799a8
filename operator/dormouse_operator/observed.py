"""What is there, as one frozen value: the model, its profile and its children, read out of plain API objects.

Pure: builds views of dicts and judges nothing. Times are seconds since the epoch. The raw objects are kept beside the
views because the executor compares intents with them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.lease import Wish, parse_time, read_wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_api.status import InferenceModelStatus

Object = Mapping[str, Any]

LABEL_INPUTS = f"{names.GROUP}/inputs"
"""On Jobs: hash of what the stage was given."""
ANNOTATION_ATTEMPT = f"{names.GROUP}/attempt"
ANNOTATION_GENERATION = f"{names.GROUP}/generation"
ANNOTATION_INTENT = f"{names.GROUP}/intent"
"""On every child we apply: hash of the intent, so that a field we stopped wanting is noticed."""
ANNOTATION_WOKEN = f"{names.GROUP}/woken-at"
"""On the Deployment: when the present wake was asked for (MicroTime)."""
LABEL_JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True)
class Model:
    """An InferenceModel."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: InferenceModelSpec
    status: InferenceModelStatus


@dataclass(frozen=True)
class Profile:
    """A RuntimeProfile."""

    name: str
    spec: RuntimeProfileSpec


@dataclass(frozen=True)
class Claim:
    """A PersistentVolumeClaim."""

    name: str
    uid: str
    bound: bool
    lost: bool
    deleting: bool
    requested: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A stage's Job."""

    name: str
    uid: str
    stage: str
    inputs: str
    attempt: int
    generation: int
    deleting: bool
    complete: bool
    failed_reason: str | None
    failed_message: str
    failed_at: float


@dataclass(frozen=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str
    message: str
    finished: float


@dataclass(frozen=True)
class Pod:
    """A pod of a Job or of the runtime, seen through its one container."""

    name: str
    uid: str
    component: str
    job: str
    ip: str
    phase: str
    deleting: bool
    created: float
    ready_at: float | None
    scheduled_at: float | None
    unschedulable: str | None
    """The scheduler's words, when it found no node."""
    unschedulable_since: float
    waiting: str | None
    """Why the container waits: ImagePullBackOff, CrashLoopBackOff, ..."""
    waiting_message: str
    started_at: float | None
    exit: Exit | None
    """The container's end, if it has ended and stays so."""
    last_exit: Exit | None
    """The end before the last restart."""
    restarts: int


@dataclass(frozen=True)
class Runtime:
    """The runtime Deployment."""

    replicas: int
    woken_at: float | None
    template: Object
    strategy: Object


@dataclass(frozen=True)
class Demand:
    """Requests in flight and held for the model, over all routers; `peak` is the most of the last minute."""

    now: int
    peak: int


@dataclass(frozen=True)
class Observed:
    """Everything one decision is made from. `jobs` is None where they were not read."""

    model: Model
    profile: Profile | None = None
    claim: Claim | None = None
    pods: tuple[Pod, ...] = ()
    jobs: tuple[Job, ...] | None = None
    runtime: Runtime | None = None
    wish: Wish | None = None
    progress: Progress | None = None
    state: RuntimeState | None = None
    demand: Demand | None = None
    raw: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    """Children as read, by (kind, name)."""

    def pods_of(self, component: str) -> tuple[Pod, ...]:
        """Pods of `component`, oldest first."""
        return tuple(sorted((p for p in self.pods if p.component == component), key=lambda p: (p.created, p.name)))


def read_model(raw: Object) -> Model:
    """The model; pydantic's ValidationError when its spec is none."""
    meta = raw["metadata"]
    return Model(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 1),
        spec=InferenceModelSpec.model_validate(raw["spec"]),
        status=read_status(raw),
    )


def read_status(raw: Object) -> InferenceModelStatus:
    """The status as it was last written; one that nobody understands counts as none."""
    try:
        return InferenceModelStatus.model_validate(raw.get("status") or {})
    except ValidationError:
        return InferenceModelStatus()


def read_profile(raw: Object) -> Profile:
    """The profile; pydantic's ValidationError when its spec is none."""
    return Profile(raw["metadata"]["name"], RuntimeProfileSpec.model_validate(raw["spec"]))


def read_claim(raw: Object | None) -> Claim | None:
    """The claim, or None."""
    if raw is None:
        return None
    meta, phase = raw["metadata"], raw.get("status", {}).get("phase", "Pending")
    return Claim(
        name=meta["name"],
        uid=meta["uid"],
        bound=phase == "Bound",
        lost=phase == "Lost",
        deleting="deletionTimestamp" in meta,
        requested=raw["spec"].get("resources", {}).get("requests", {}).get("storage", "0"),
        labels=meta.get("labels") or {},
    )


def read_job(raw: Object) -> Job:
    """A Job of ours."""
    meta, annotations = raw["metadata"], raw["metadata"].get("annotations") or {}
    conditions = {c["type"]: c for c in raw.get("status", {}).get("conditions") or () if c["status"] == "True"}
    failed = conditions.get("Failed") or conditions.get("FailureTarget")
    labels = meta.get("labels") or {}
    return Job(
        name=meta["name"],
        uid=meta["uid"],
        stage=labels.get(names.LABEL_COMPONENT, ""),
        inputs=labels.get(LABEL_INPUTS, ""),
        attempt=int(annotations.get(ANNOTATION_ATTEMPT, "0")),
        generation=int(annotations.get(ANNOTATION_GENERATION, "0")),
        deleting="deletionTimestamp" in meta,
        complete="Complete" in conditions or "SuccessCriteriaMet" in conditions,
        failed_reason=failed.get("reason", "") if failed else None,
        failed_message=failed.get("message", "") if failed else "",
        failed_at=_time(failed, "lastTransitionTime") or 0.0,
    )


def read_pod(raw: Object) -> Pod:
    """A pod of ours."""
    meta, status = raw["metadata"], raw.get("status", {})
    labels = meta.get("labels") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    container: Object = next(iter(status.get("containerStatuses") or ()), {})
    state, last = container.get("state") or {}, container.get("lastState") or {}
    waiting, ready = state.get("waiting") or {}, conditions.get("Ready", {})
    scheduled = conditions.get("PodScheduled", {})
    lost_race = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return Pod(
        name=meta["name"],
        uid=meta["uid"],
        component=labels.get(names.LABEL_COMPONENT, ""),
        job=labels.get(LABEL_JOB_NAME, ""),
        ip=status.get("podIP", ""),
        phase=status.get("phase", "Pending"),
        deleting="deletionTimestamp" in meta,
        created=_time(meta, "creationTimestamp") or 0.0,
        ready_at=_time(ready, "lastTransitionTime") if ready.get("status") == "True" else None,
        scheduled_at=_time(scheduled, "lastTransitionTime") if scheduled.get("status") == "True" else None,
        unschedulable=scheduled.get("message", "no node fits") if lost_race else None,
        unschedulable_since=_time(scheduled, "lastTransitionTime") or 0.0,
        waiting=waiting.get("reason"),
        waiting_message=waiting.get("message", ""),
        started_at=_time(state.get("running"), "startedAt"),
        exit=_exit(state.get("terminated")),
        last_exit=_exit(last.get("terminated")),
        restarts=container.get("restartCount", 0),
    )


def read_runtime(raw: Object | None) -> Runtime | None:
    """The Deployment, or None."""
    if raw is None or "deletionTimestamp" in raw["metadata"]:
        return None
    woken = (raw["metadata"].get("annotations") or {}).get(ANNOTATION_WOKEN)
    spec = raw["spec"]
    return Runtime(
        spec.get("replicas", 1), parse_time(woken) if woken else None, spec["template"], spec.get("strategy", {})
    )


def read_lease(raw: Object | None) -> Wish | None:
    """The wish in the model's Lease, or None."""
    return read_wish(raw.get("spec")) if raw else None


def read_pods(items: Sequence[Object]) -> tuple[Pod, ...]:
    """All pods of a LIST."""
    return tuple(read_pod(item) for item in items)


def _exit(raw: Object | None) -> Exit | None:
    if not raw:
        return None
    return Exit(raw.get("exitCode", 0), raw.get("reason", ""), raw.get("message", ""), _time(raw, "finishedAt") or 0.0)


def _time(raw: Object | None, field_name: str) -> float | None:
    text = (raw or {}).get(field_name)
    return parse_time(text) if text else None
