"""Every name two parts must agree on: group, labels, ports, paths, environment, and the names of children."""

import hashlib

GROUP = "dormouse.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

MODEL_KIND = "InferenceModel"
MODEL_PLURAL = "inferencemodels"
PROFILE_KIND = "RuntimeProfile"
PROFILE_PLURAL = "runtimeprofiles"
ROUTE_KIND = "InferenceRoute"
ROUTE_PLURAL = "inferenceroutes"
CATEGORY = "dormouse"

FIELD_MANAGER = "dormouse"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "dormouse"
LABEL_MODEL = f"{GROUP}/model"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_CLAIM = f"{GROUP}/claim"
"""On Jobs and pods that mount a model's volume: the name of its claim (a hash where that is no label's value)."""
LABEL_SOURCE = f"{GROUP}/source"
"""On claims: hash of the source whose weights they hold."""
SELECTOR = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

LABEL_DERIVED = f"{GROUP}/derived"
"""On an InferenceRoute a client made (`ollama create`, `ollama cp`): clients may replace only these."""

COMPONENT_INSPECT = "inspect"
COMPONENT_PULL = "pull"
COMPONENT_QUANTIZE = "quantize"
COMPONENT_SWEEP = "sweep"
COMPONENT_ADAPTER = "adapter"
"""Jobs that look at an adapter and pull it."""
COMPONENT_BIND = "bind"
"""Jobs that write the list of a model's adapters to its volume."""
COMPONENT_RUNTIME = "runtime"
COMPONENT_WEIGHTS = "weights"

ANNOTATION_RESTARTED = f"{GROUP}/restartedAt"
"""On a model's Lease: a MicroTime; the operator takes it over into the pod template, so a later one replaces every
runtime pod. On the Lease, because routers may write nothing else of a model's."""
ANNOTATION_REQUEST = f"{GROUP}/request"
"""On a model that was made over HTTP: what stands for the request that made it, where that had an Idempotency-Key."""
ANNOTATION_SERVES = f"{GROUP}/serves"
"""On the operators' election Lease: the namespaces its holder serves; empty: all."""

PORT_SERVING = 8000
"""Runtime pod: the engine's own OpenAI HTTP."""
PORT_ADMIN = 8001
"""Runtime pod: the supervisor. Pull pod: the progress endpoint."""
PORT_ROUTER = 8080
"""Router pod: every client API. Its Service offers it on 80 and on Ollama's 11434."""
PORT_OPS = 9090
"""Router and operator pods: /metrics, /livez, /readyz; in the router also /demand."""
PORT_WORKER_OPS = 9091
"""The batch worker: /metrics, /livez, /readyz. Not 9090, for it may share the router's pod."""

MODELS_DIR = "/models"
CACHE_DIR = "/cache"
SUBPATH_MODELS = "models"
SUBPATH_CACHE = "cache"
TOKEN_DIR = "/var/run/dormouse/token"  # noqa: S105 - a path, not a token
TOKEN_FILE = f"{TOKEN_DIR}/token"
CREDENTIALS_DIR = "/var/run/dormouse/credentials"
"""A file per key of the Secret with an object store's credentials, in the inspect and pull pods."""
SOURCE_DIR = "/source"
"""The claim of a pvc:// source, read-only, in the inspect and pull pods."""
CALIBRATION_DIR = "/calibration"
"""The texts of spec.calibration, read-only, in the quantize Job."""
TERMINATION_LOG = "/dev/termination-log"
MARKER = ".dormouse.json"

ENV_RUNTIME_CONFIG = "DORMOUSE_RUNTIME"
"""JSON of `dormouse_api.runtime.RuntimeConfig`, in the runtime pod."""
ENV_ADAPTERS = "DORMOUSE_ADAPTERS"
"""JSON of `dormouse_api.adapters.AdapterList`, in the bind Job."""
ENV_QUANTIZE_CONFIG = "DORMOUSE_QUANTIZE"
"""JSON of `dormouse_api.runtime.QuantizeConfig`, in the quantize Job."""

MAX_MODEL_NAME = 40
"""Longest `metadata.name` of a model: the longest child name stays a DNS label of at most 63 characters."""

MAX_ROUTE_NAME = 128
"""Longest `metadata.name` of a route: as long as an alias may be."""

RUN_AS_USER = 10001
"""User and group of every pod Dormouse makes; also the volume's fsGroup."""


def digest(*parts: str, length: int = 8) -> str:
    """A short stable hash of `parts` (hex, `length` characters), for names derived from their input."""
    text = "\0".join(parts).encode()
    return hashlib.sha256(text).hexdigest()[:length]


def runtime_name(model: str) -> str:
    """Name of the model's Deployment, Service and Lease."""
    return f"{model}-runtime"


def weights_name(model: str) -> str:
    """Name of the model's PersistentVolumeClaim."""
    return f"{model}-weights"


def claim_label(claim: str) -> str:
    """The claim's name as the value of a label: at most 63 characters."""
    return claim if len(claim) <= 63 else digest(claim, length=32)


def job_name(model: str, stage: str, *inputs: str) -> str:
    """Name of a stage's Job: the same inputs give the same name, so a done stage is never done again."""
    return f"{model}-{stage}-{digest(*inputs)}"
