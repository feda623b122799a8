"""RuntimeProfile v1alpha1 (cluster-scoped): what an administrator lets models run on.

Everything that could turn a model into privilege (image, resources, node, remote code) is here and not in the model.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject
from dormouse_api.bounds import Flag, ObjectName, Quantity
from dormouse_api.schema import rules

QUALIFIED = "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
"""Names of resources and labels: a name of at most 63 characters, perhaps below a domain."""
AMOUNT = r"^[0-9]{1,15}(\.[0-9]{1,9})?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
Image = Annotated[
    str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9]+((\.|/|:|@|_{1,2}|-+)[A-Za-z0-9]+)*$")
]
LABEL_VALUE = "([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
ResourceMap = Annotated[
    dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=32, pattern=AMOUNT)]],
    Field(
        max_length=16,
        json_schema_extra=rules(
            (
                f"self.all(name, name.matches('^{QUALIFIED}$'))",
                "resources: names are such as cpu, memory or example.com/device",
            ),
        ),
    ),
]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=317)], Annotated[str, Field(max_length=63, pattern=rf"^{LABEL_VALUE}$")]],
    Field(
        max_length=16,
        json_schema_extra=rules(
            (
                f"self.all(name, name.matches('^{QUALIFIED}$'))",
                "nodeSelector: names are those of labels, such as kubernetes.io/arch",
            ),
        ),
    ),
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

    resource: Annotated[
        str, Field(max_length=128, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    ]
    """Extended resource name, such as nvidia.com/gpu."""
    count: Annotated[int, Field(ge=1, le=16)] = 1
    memory: Quantity
    """Memory of one device as it reports it (nvidia-smi): a 24 GB card may have 22.5Gi. Preflight compares with it."""


class Custom(ApiObject):
    """A model's own Python, which is in the profile's image."""

    entry_point: Annotated[
        str,
        Field(max_length=256, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"),
    ]
    """package.module:Class. The class has load(folder, config), predict(input), unload() and input_schema."""
    config: (
        Annotated[
            dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=1024)]],
            Field(
                max_length=32,
                json_schema_extra=rules(
                    (
                        "self.all(name, size(name) <= 64)",
                        "custom.config: a name has at most 64 characters: shorten it",
                    ),
                ),
            ),
        ]
        | None
    ) = None
    """What load is given beside the folder of the weights."""


class TolerationOperator(StrEnum):
    EXISTS = "Exists"
    EQUAL = "Equal"


class Toleration(ApiObject):
    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "self.operator == 'Equal' || !has(self.value)",
                "a toleration with operator Exists looks at no value: remove the value, or set operator Equal",
            ),
            (
                "has(self.key) || self.operator == 'Exists'",
                "a toleration without key tolerates everything and needs operator Exists: set it, or name the key",
            ),
        )
    }

    key: Annotated[str, Field(max_length=317, pattern=rf"^{QUALIFIED}$")] | None = None
    operator: TolerationOperator = TolerationOperator.EQUAL
    value: Annotated[str, Field(max_length=63, pattern=rf"^{LABEL_VALUE}$")] | None = None
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
                "self.device != 'cpu' || has(self.kvCacheMemory) || has(self.custom)",
                "a profile with device cpu must say how much memory the KV cache gets: set spec.kvCacheMemory",
            ),
            (
                "!has(self.accelerator) || !has(self.kvCacheMemory) || self.device == 'cpu' || "
                "quantity(self.kvCacheMemory).isLessThan(quantity(self.accelerator.memory))",
                "kvCacheMemory is taken from accelerator.memory and must leave room for weights: lower it, or leave it "
                "out",
            ),
        )
    }

    image: Image
    """Image of the runtime, made from Dockerfile.runtime, or one of your own that holds dormouse-runtime."""
    quantizer_image: Image | None = None
    """Image that makes calibrated copies, made from Dockerfile.quantizer. Default: models may not ask for
    calibration."""
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
    custom: Custom | None = None
    """Serve every model of this profile by a Python class of its image, in place of the engines."""
    shared_memory: Quantity = "1Gi"
    """Size of /dev/shm."""
    args: (
        Annotated[
            list[Flag],
            Field(max_length=32),
        ]
        | None
    ) = None
    """vLLM flags for every model of this profile; a model's own engine.args come after them and win."""
    start_seconds: Annotated[int, Field(ge=10, le=7200)] = 1200
    """Longest start of an engine; one that takes longer is passed over."""
    stall_seconds: Annotated[int, Field(ge=30, le=7200)] = 300
    """Seconds without a line, a byte read or work after which a start counts as hung, and is passed over."""
    node_selector: Labels | None = None
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    runtime_class_name: ObjectName | None = None
    remote_code: RemoteCode = RemoteCode.FORBIDDEN
    """Whether a model's own Python code may run (transformers' trust_remote_code): only where no engine loads the model
    without it, and only what was pulled at the commit in status."""
    update_strategy: UpdateStrategy = UpdateStrategy.RECREATE
    """Recreate never needs a second device; RollingUpdate where there is room for one."""
