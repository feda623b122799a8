"""What is there, as one frozen value: the model, its profile and its children.

Values only; `reading.py` makes them of API objects. Times are seconds since the epoch. The raw objects are kept beside
the views because the executor compares intents with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dormouse_api import names
from dormouse_api.gpu import GpuReport
from dormouse_api.lease import Wish
from dormouse_api.model import InferenceModelSpec
from dormouse_api.profile import RuntimeProfileSpec
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide.eviction import Turn
from dormouse_operator.decide.pulls import Spot

Object = Mapping[str, Any]

LABEL_INPUTS = f"{names.GROUP}/inputs"
"""On Jobs: hash of what the stage was given."""
ANNOTATION_ATTEMPT = f"{names.GROUP}/attempt"
ANNOTATION_ROOM = f"{names.GROUP}/room"
"""On Jobs that write to a volume: how it was when they were made. With another one they may be tried again."""
ANNOTATION_GENERATION = f"{names.GROUP}/generation"
INTENT = f"{names.GROUP}/intent"
"""On every child we apply: hash of the intent, so that a field we stopped wanting is noticed. On the Deployment it is a
label, as is everything there that changes with a wake: Kubernetes copies annotations to the ReplicaSet before it scales
it, and that scaling is then refused as out of date (409) and tried again."""
LABEL_WOKEN = f"{names.GROUP}/woken-at"
"""On the Deployment: when the present wake was asked for."""
LABEL_ASKED = f"{names.GROUP}/asked-at"
"""On the Deployment without replicas: since when the model waits for its turn on a full accelerator."""
LABEL_TURNED_OUT = f"{names.GROUP}/turned-out-at"
"""On the Deployment: with replicas, since when its door is closed, so that it can make room for another; without, when
it made room."""
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
class Notice:
    """What a Kubernetes Event says of an object. `at`: when it was said last."""

    reason: str
    message: str
    at: float


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
    created: float = 0.0
    class_name: str = ""
    notices: tuple[Notice, ...] = ()
    """Events of it, newest last; read only while it waits for its volume."""
    capacity: str = "0"
    """What the volume has; less than is requested while it grows, 0 until there is one."""
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    owners: tuple[tuple[str, str], ...] = ()
    """(uid, name) of the models it goes with."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    growing: str = ""
    """The cluster's words on a resize that is under way or failed; empty where there is none."""
    grow_failed: bool = False

    @property
    def one_node(self) -> bool:
        """Only pods of one node can mount it at the same time."""
        return "ReadWriteMany" not in self.access_modes


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
    created: float = 0.0
    notices: tuple[Notice, ...] = ()
    """Events of it; read only while it has no pod."""
    model: str = ""
    room: str = ""
    """The volume as it was when the Job was made: `decide.volume.room`."""


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
    mounted_at: float | None = None
    """Its volumes and its network are there; what follows is the image and the container."""
    reload_at: float | None = None
    """When the reload that it was made by was asked for, if it was."""
    reason: str = ""
    """Why it failed, where that was not its container's doing: Evicted, UnexpectedAdmissionError, ..."""
    message: str = ""
    disrupted: str | None = None
    """Who in the cluster ended it and why, in the cluster's words: an eviction, a preemption, a lost node."""
    silent_since: float | None = None
    """Since when its node does not answer: the pod is unready although its containers are ready."""
    ends_at: float | None = None
    """When its time to end is over, once it is deleted."""
    notices: tuple[Notice, ...] = ()
    """Events of it, newest last; read only while it does not start."""
    model: str = ""
    uses: frozenset[str] = frozenset()
    """Folders of its volume that it was told of."""


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
class Pressure:
    """What all ready engines of one model say of themselves at one moment."""

    engines: int
    waiting: int
    """Requests in their own queues: they are in flight, and nobody works on them."""
    cache: float
    """Share of the KV cache in use, 0 to 1: the engines' mean."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests in flight and held for one model over all routers, at one moment (seconds of any steady clock)."""

    at: float
    load: int
    pressure: Pressure | None = None
    """None where the engines do not tell, or nobody asked."""


@dataclass(frozen=True)
class Demand:
    """One sample for every time the routers were asked, as far back as one decides about: oldest first, never empty."""

    samples: tuple[Sample, ...]

    @property
    def now(self) -> int:
        return self.samples[-1].load


@dataclass(frozen=True, slots=True)
class Tally:
    """What has been heard of a model's calls since it was last written into the status; seconds."""

    busy: float = 0.0
    """With at least one call in flight."""
    waited: float = 0.0
    """Of callers that were held, all together."""


@dataclass(frozen=True)
class Observed:
    """Everything one decision is made from. `jobs` is None where they were not read."""

    model: Model
    profile: Profile | None = None
    claim: Claim | None = None
    source: Claim | None = None
    """What a pvc:// source lies on; read only while a stage needs Jobs."""
    pods: tuple[Pod, ...] = ()
    jobs: tuple[Job, ...] | None = None
    runtime: Runtime | None = None
    wish: Wish | None = None
    restarted: str | None = None
    """The last restart of its pods that was asked for (MicroTime)."""
    progress: Progress | None = None
    state: RuntimeState | None = None
    gpus: Mapping[str, GpuReport] | None = None
    """What its GPUs say, by pod; None where nothing is known."""
    demand: Demand | None = None
    tally: Tally = Tally()
    first_token: float | None = None
    """When the first stream that waited for the last wake had its first token, as routers told lately."""
    turn: Turn | None = None
    """What it may do among the models that want the same devices; None where there is nothing to share."""
    spot: Spot | None = None
    """Where it stands in the line for a pull; None where it does not."""
    at_work: tuple[Job, ...] = ()
    """Jobs of other models that write to the same volume and have not ended."""
    needed: frozenset[str] = frozenset()
    """Folders of its volume that other models need."""
    mounted: frozenset[str] | None = None
    """Folders of its volume that pods were told of; None where neither this nor `needed` was read."""
    expandable: bool | None = None
    """Whether the class of its volume can grow; None where that was not read."""
    raw: Mapping[tuple[str, str], Object] = field(default_factory=dict)
    """Children as read, by (kind, name)."""
    shared: bool = False
    """Read for many models at once, a moment ago: good enough to see that nothing is to do, not to do anything."""

    def pods_of(self, component: str) -> tuple[Pod, ...]:
        """Pods of `component`, oldest first."""
        return tuple(sorted((p for p in self.pods if p.component == component), key=lambda p: (p.created, p.name)))
