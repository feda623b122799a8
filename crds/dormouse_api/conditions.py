"""The conditions and reasons a user sees on an InferenceModel, and which reasons mean that a call cannot be answered.

Owns the closed lists. `operator/status.py` chooses among them; the router only asks `is_failure`.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Positive polarity, as Kubernetes wants: True is the good or the finished state."""

    READY = "Ready"
    """A request sent now will be answered, perhaps after a wake."""
    PREFLIGHT = "Preflight"
    """The inspected weights and their context fit the profile's accelerators."""
    STORAGE_BOUND = "StorageBound"
    MODEL_PULLED = "ModelPulled"
    QUANTIZED = "Quantized"
    RUNTIME_AVAILABLE = "RuntimeAvailable"
    IDLE = "Idle"
    """True: scaled to zero on purpose."""


class Reason(StrEnum):
    """Every reason of every condition. Those in `FAILURES` end a held call at once, with the condition's message."""

    # Ready = True
    SERVING = "Serving"
    WAKING = "Waking"
    SCALED_TO_ZERO = "ScaledToZero"
    WAITING_FOR_ACCELERATOR = "WaitingForAccelerator"
    """Other models have the devices it needs, or its profile's places: it stands in line, and its callers are held."""
    MAKING_ROOM = "MakingRoom"
    """It finishes its calls and then sleeps, because another model waits for its devices; new calls are held."""
    # Ready = False or Unknown, and on the way
    PENDING = "Pending"
    INSPECTING = "Inspecting"
    QUEUED = "Queued"
    """It waits for one of the places for pulls."""
    PULLING = "Pulling"
    QUANTIZING = "Quantizing"
    INTERRUPTED = "Interrupted"
    """A Job was cut off (eviction, restart); the next try goes on where it stopped."""
    # The other conditions' good or neutral reasons
    FITS = "Fits"
    NOT_MEASURABLE = "NotMeasurable"
    """The profile names no accelerator memory, or the model's files do not tell what it needs."""
    BOUND = "Bound"
    WAITING_FOR_CONSUMER = "WaitingForConsumer"
    PULLED = "Pulled"
    QUANTIZED = "Quantized"
    LOW_QUALITY = "LowQuality"
    """The quantized copy serves, and answers otherwise than the original too often."""
    NOT_WANTED = "NotWanted"
    POD_READY = "PodReady"
    NO_POD = "NoPod"
    IN_USE = "InUse"
    # Failures of the pull (the puller's closed list)
    UNAUTHORIZED = "Unauthorized"
    GATED = "Gated"
    NOT_FOUND = "NotFound"
    RATE_LIMITED = "RateLimited"
    NO_SPACE = "NoSpace"
    STALLED = "Stalled"
    CORRUPT = "Corrupt"
    NETWORK = "Network"
    UNSUPPORTED = "Unsupported"
    """The repository holds nothing this runtime can serve (no safetensors, unknown source scheme, ...)."""
    # Failures of the cluster
    INVALID_SPEC = "InvalidSpec"
    PROFILE_NOT_FOUND = "ProfileNotFound"
    DOES_NOT_FIT = "DoesNotFit"
    """Weights, KV cache and overhead are more than the profile's accelerators hold."""
    REMOTE_CODE_FORBIDDEN = "RemoteCodeForbidden"
    """The model needs its own Python code, and the profile does not let it run."""
    STORAGE_FAILED = "StorageFailed"
    JOB_FAILED = "JobFailed"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    UNSCHEDULABLE = "Unschedulable"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - no secret
    """The Secret of the hub's token, or its key, is not there."""
    REFUSED = "Refused"
    """A quota, a policy or a webhook of the cluster refuses what the model needs."""
    NODE_LOST = "NodeLost"
    """The node does not answer any more."""
    # Failures of the engines
    OUT_OF_MEMORY = "OutOfMemory"
    QUANTIZATION_FAILED = "QuantizationFailed"
    ENGINE_FAILED = "EngineFailed"


PULL_FAILURES = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.GATED,
        Reason.NOT_FOUND,
        Reason.RATE_LIMITED,
        Reason.NO_SPACE,
        Reason.STALLED,
        Reason.CORRUPT,
        Reason.NETWORK,
        Reason.UNSUPPORTED,
    }
)

PERMANENT = frozenset(
    {Reason.UNAUTHORIZED, Reason.GATED, Reason.NOT_FOUND, Reason.NO_SPACE, Reason.CORRUPT, Reason.UNSUPPORTED}
)
"""Reasons a retry does not cure: somebody must act first. The pull Job is not run again by itself for these."""

FAILURES = PULL_FAILURES | {
    Reason.INVALID_SPEC,
    Reason.PROFILE_NOT_FOUND,
    Reason.DOES_NOT_FIT,
    Reason.REMOTE_CODE_FORBIDDEN,
    Reason.STORAGE_FAILED,
    Reason.JOB_FAILED,
    Reason.IMAGE_PULL_FAILED,
    Reason.UNSCHEDULABLE,
    Reason.SECRET_MISSING,
    Reason.REFUSED,
    Reason.NODE_LOST,
    Reason.OUT_OF_MEMORY,
    Reason.QUANTIZATION_FAILED,
    Reason.ENGINE_FAILED,
}
"""With `Ready=False` and one of these reasons, a call is refused at once (503) with the condition's message."""


def is_failure(reason: str) -> bool:
    """Whether `reason`, found on `Ready=False`, means that waiting will not help. Unknown reasons do not."""
    return reason in FAILURES


def failing(reason: Reason) -> Reason:
    """`reason`, if one of our own processes may give it for a failure: no Job talks itself into `Serving`."""
    if reason not in FAILURES and reason is not Reason.INTERRUPTED:
        raise ValueError(f"{reason.value} is no failure")
    return reason
