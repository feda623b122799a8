"""RuntimeProfile v1alpha1 (cluster-scoped): what an administrator lets models run on.

Everything that could turn a model into privilege (image, resources, node, remote code) is here and not in the model.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject
from dormouse_api.model import ObjectName, Quantity
from dormouse_api.schema import rules

ResourceMap = Annotated[
    dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=32)]], Field(max_length=16)
]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63)]], Field(max_length=16)
]


class RemoteCode(StrEnum):
    FORBIDDEN = "Forbidden"
    ALLOWED = "Allowed"


class Device(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class UpdateStrategy(StrEnum):
    RECREATE = "Recreate"
    ROLLING_UPDATE = "RollingUpdate"


class Resources(ApiObject):
    requests: ResourceMap | None = None
    limits: ResourceMap | None = None


class Accelerator(ApiObject):
    """The devices one pod takes."""

    resource: Annotated[str, Field(max_length=128, pattern=r"^[a-z0-9.-]+/[a-zA-Z0-9._-]+$")]
    """Extended resource name, such as nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=16)] = 1
    memory: Quantity
    """Memory of one device as it reports it (nvidia-smi): a 24 GB card may have 22.5Gi. Preflight compares with it."""


class TolerationOperator(StrEnum):
    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(ApiObject):
    key: Annotated[str, Field(max_length=317)] | None = None
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: Annotated[str, Field(max_length=63)] | None = None
    effect: Annotated[str, Field(pattern="^(NoSchedule|PreferNoSchedule|NoExecute)$", max_length=16)] | None = None


class RuntimeProfileSpec(ApiObject):
    """What a model that names this profile runs on."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "self.device == 'cpu' || has(self.accelerator)",
                "a profile with device cuda must name its accelerator: set spec.accelerator.resource and .memory",
            ),
            (
                "self.device != 'cpu' || has(self.kvCacheMemory)",
                "a profile with device cpu must say how much memory the KV cache gets: set spec.kvCacheMemory",
            ),
        )
    }

    image: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
    """Image of the runtime, made from Dockerfile.runtime."""
    image_pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    device: Device
    resources: Resources = Resources()
    accelerator: Accelerator | None = None
    kv_cache_memory: Quantity | None = None
    """Memory of each device set aside for the KV cache. Default, with an accelerator: what a model's weights leave of
    it, at most what maxNumSeqs contexts need."""
    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] = 64
    """Sequences one pod decodes at once."""
    max_awake: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Models of this profile that may be awake at once; one more takes turns with them. Default: 2 with an accelerator,
    no limit without. Beside it no more are awake than there are accelerators."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm."""
    args: (
        Annotated[
            list[Annotated[str, Field(max_length=512, pattern=r"^--[a-z][a-z0-9-]*(=[^\n\r]*)?$")]],
            Field(max_length=32),
        ]
        | None
    ) = None
    """vLLM flags for every model of this profile; a model's own engine.args come after them and win."""
    start_seconds: Annotated[int, Field(ge=10, le=7200)] = 1200
    """Longest start of an engine; one that takes longer is passed over."""
    node_selector: Labels | None = None
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    runtime_class_name: ObjectName | None = None
    remote_code: RemoteCode = RemoteCode.FORBIDDEN
    """Whether a model's own Python code may run (transformers' trust_remote_code), pinned to the pulled commit."""
    update_strategy: UpdateStrategy = UpdateStrategy.RECREATE
    """Recreate never needs a second device; RollingUpdate where there is room for one."""
