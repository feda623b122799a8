"""What is there, as one frozen value: the model, its profile and its children.

Values only; `reading.py` makes them of API objects. Times are seconds since the epoch. The raw objects are kept beside
the views because the executor compares intents with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dormouse_api import names
from dormouse_api.lease import Wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide.eviction import Turn

Object = Mapping[str, Any]

LABEL_INPUTS = f"{names.GROUP}/inputs"
"""On Jobs: hash of what the stage was given."""
ANNOTATION_ATTEMPT = f"{names.GROUP}/attempt"
ANNOTATION_GENERATION = f"{names.GROUP}/generation"
ANNOTATION_INTENT = f"{names.GROUP}/intent"
"""On every child we apply: hash of the intent, so that a field we stopped wanting is noticed."""
ANNOTATION_WOKEN = f"{names.GROUP}/woken-at"
"""On the Deployment: when the present wake was asked for (MicroTime)."""
ANNOTATION_ASKED = f"{names.GROUP}/asked-at"
"""On the Deployment without replicas: since when the model waits for its turn on a full accelerator (MicroTime)."""
ANNOTATION_TURNED_OUT = f"{names.GROUP}/turned-out-at"
"""On the Deployment: with replicas, since when its door is closed, so that it can make room for another; without, when
it made room (MicroTime)."""
CONTAINERS = frozenset({"pull", "quantize", "runtime"})
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
    ended_at: float


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
    node: str = ""
    reload_at: float | None = None
    """When the reload that it was made by was asked for, if it was."""


@dataclass(frozen=True)
class Runtime:
    """The runtime Deployment."""

    replicas: int
    woken_at: float | None
    template: Object
    strategy: Object
    asked_at: float | None = None
    turned_out: float | None = None
    refused: str | None = None
    """Why the cluster refuses to make its pods, if it does: a quota, a policy."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests in flight and held for one model over all routers, at one moment (seconds of any steady clock)."""

    at: float
    load: int


@dataclass(frozen=True)
class Demand:
    """One sample for every time the routers were asked, as far back as one decides about: oldest first, never empty."""

    samples: tuple[Sample, ...]

    @property
    def now(self) -> int:
        return self.samples[-1].load


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
    restarted: str | None = None
    """The last restart of its pods that was asked for (MicroTime)."""
    progress: Progress | None = None
    state: RuntimeState | None = None
    demand: Demand | None = None
    turn: Turn | None = None
    """What it may do among the models that want the same devices; None where there is nothing to share."""
    raw: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    """Children as read, by (kind, name)."""

    def pods_of(self, component: str) -> tuple[Pod, ...]:
        """Pods of `component`, oldest first."""
        return tuple(sorted((p for p in self.pods if p.component == component), key=lambda p: (p.created, p.name)))
