"""InferenceModel v1alpha1: the one object a user writes (its status, which the operator writes, is in `status.py`).

Owns shapes, bounds, defaults and the CEL rules; `schema.py` turns them into the CRD. A field is here only when
something obeys it. Every bound is there for the API server's CEL cost estimate as much as for sanity.
"""

import re
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field

from dormouse_api.base import ApiObject
from dormouse_api.names import MAX_MODEL_NAME
from dormouse_api.schema import rules

Quantity = Annotated[str, Field(max_length=32, pattern=r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti)?$")]
"""A Kubernetes quantity of bytes: 10Gi, 500M, 1500000000."""
DnsName = Annotated[str, Field(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
ObjectName = Annotated[str, Field(max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
ServedName = Annotated[
    str,
    Field(
        max_length=128,
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?$",
    ),
]

SOURCE_PATTERN = (
    r"^(hf://[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
    r"|s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9][A-Za-z0-9._-]*){1,8}"
    r"|pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[A-Za-z0-9][A-Za-z0-9._-]*){0,8})$"
)

SOURCE_RULE = rules(
    (
        f"self.matches('{SOURCE_PATTERN}')",
        "source.uri must be hf://organisation/name, s3://bucket/path or pvc://claim/path",
    ),
)


def _known_source(uri: str) -> str:
    if not re.fullmatch(SOURCE_PATTERN, uri):
        raise ValueError(SOURCE_RULE["x-kubernetes-validations"][0]["message"])
    return uri


ENGINE_ARGS = (
    "--block-size",
    "--disable-log-requests",
    "--enable-chunked-prefill",
    "--enable-prefix-caching",
    "--enforce-eager",
    "--generation-config",
    "--kv-cache-dtype",
    "--limit-mm-per-prompt",
    "--max-num-batched-tokens",
    "--max-num-seqs",
    "--no-enable-prefix-caching",
    "--rope-scaling",
    "--seed",
    "--structured-outputs-config",
    "--swap-space",
)
"""The vLLM flags a user may set. Nothing here loads code, opens a port, names a path or touches the network."""


class Quantization(StrEnum):
    """What the weights are served as."""

    AUTO = "auto"
    NONE = "none"
    INT4 = "int4"
    INT8 = "int8"
    FP8 = "fp8"
    NF4 = "nf4"
    LLM_INT8 = "llm-int8"
    GPTQ = "gptq"
    AWQ = "awq"


class Engine(StrEnum):
    """An engine the supervisor can start."""

    VLLM = "vllm"
    TRANSFORMERS = "transformers"


class SecretRef(ApiObject):
    """A key of a Secret in the model's own namespace."""

    name: ObjectName
    key: Annotated[str, Field(max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")] = "token"


class Source(ApiObject):
    """Where the weights come from."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            ("self.uri == oldSelf.uri", "source.uri cannot change: create another InferenceModel for other weights"),
        )
    }

    uri: Annotated[str, Field(max_length=300, json_schema_extra=SOURCE_RULE), AfterValidator(_known_source)]
    """hf://org/name, s3://bucket/path or pvc://claim/path. Cannot be changed."""
    revision: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = "main"
    """Branch, tag or commit; resolved to a commit in status. Changing it rolls the model."""
    token_secret_ref: SecretRef | None = None
    """Secret with the hub token; mounted as a file in the inspect and pull pods only."""


class AccessMode(StrEnum):
    READ_WRITE_ONCE = "ReadWriteOnce"
    READ_WRITE_MANY = "ReadWriteMany"


class ReclaimPolicy(StrEnum):
    DELETE = "Delete"
    RETAIN = "Retain"


class Storage(ApiObject):
    """The volume that holds the weights."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "!has(self.existingClaim) || (!has(self.size) && !has(self.className))",
                "storage.existingClaim brings its own size and class: remove storage.size and storage.className",
            ),
        )
    }

    size: Quantity | None = None
    """Size of the volume. Default: computed from the inspected weights."""
    class_name: ObjectName | None = None
    """StorageClass. Default: the cluster's default class."""
    access_mode: AccessMode = AccessMode.READ_WRITE_ONCE
    reclaim_policy: ReclaimPolicy = ReclaimPolicy.DELETE
    """Delete: the volume goes with the model. Retain: it stays, and a model of the same name adopts it."""
    existing_claim: ObjectName | None = None
    """Use this PersistentVolumeClaim of the same namespace instead of making one."""


class Dtype(StrEnum):
    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Task(StrEnum):
    AUTO = "auto"
    GENERATE = "generate"
    EMBED = "embed"


class EngineSpec(ApiObject):
    """How the weights are served."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                f"!has(self.args) || self.args.all(a, a.split('=')[0] in {list(ENGINE_ARGS)})",
                "engine.args may only hold: "
                + ", ".join(ENGINE_ARGS)
                + "; other flags are the administrator's: RuntimeProfile spec.args",
            ),
            (
                "self.order.all(x, self.order.exists_one(y, x == y))",
                "engine.order names an engine twice: name each engine once",
            ),
        )
    }

    order: Annotated[list[Engine], Field(min_length=1, max_length=4)] = [Engine.VLLM, Engine.TRANSFORMERS]  # noqa: RUF012
    """Engines to try, best first; why one was passed over is in status.engine."""
    max_model_len: Annotated[int, Field(ge=16, le=16_777_216)] | None = None
    """Longest context in tokens. Default: the model's own, or what the KV memory holds."""
    dtype: Dtype = Dtype.AUTO
    task: Task = Task.AUTO
    tool_call_parser: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] | None = None
    """vLLM's name of the parser; turns tool calling on."""
    reasoning_parser: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] | None = None
    chat_template: Annotated[str, Field(max_length=65_536)] | None = None
    """A Jinja template that replaces the model's own."""
    args: (
        Annotated[
            list[Annotated[str, Field(max_length=512, pattern=r"^--[a-z][a-z0-9-]*(=[^\n\r]*)?$")]],
            Field(max_length=16),
        ]
        | None
    ) = None
    """More vLLM flags, from a short allowed list."""


class WaitComments(StrEnum):
    """Whether held streams are told how the wake goes."""

    AUTO = "Auto"
    ON = "On"
    OFF = "Off"


class Scaling(ApiObject):
    """How many runtime pods, and how long one stays after the last request."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "self.minReplicas <= self.maxReplicas",
                "scaling.minReplicas must not exceed scaling.maxReplicas: raise maxReplicas or lower minReplicas",
            ),
        )
    }

    min_replicas: Annotated[int, Field(ge=0, le=64)] = 0
    """Pods kept even when nobody calls. 0: the model sleeps. This is what the /scale subresource sets."""
    max_replicas: Annotated[int, Field(ge=1, le=64)] = 1
    target_in_flight: Annotated[int, Field(ge=1, le=100_000)] | None = None
    """Requests in flight one pod shall carry before another is added. Default: the profile's maxNumSeqs."""
    idle_seconds: Annotated[int, Field(ge=1, le=2_592_000)] = 300
    """Seconds without a request after which the model sleeps."""
    hold_seconds: Annotated[int, Field(ge=1, le=3600)] = 600
    """Longest wait of one request for the model to wake; then 503 with Retry-After. A request may ask for less."""
    max_held: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Most requests held while the model wakes; beyond it 429 with Retry-After."""
    wait_comments: WaitComments = WaitComments.AUTO
    """Whether a streamed request that waits is sent comments (in Anthropic's dialect: pings) with stage and estimate.
    Off: for clients that choke on them. Auto: as the router is set. A request's own header goes first."""
    preload: bool | None = None
    """Start the model once when its weights have come, before anybody calls; from then on it sleeps as any other."""


class InferenceModelSpec(ApiObject):
    """What the user wants."""

    source: Source
    storage: Storage = Storage()
    quantization: Quantization = Quantization.AUTO
    engine: EngineSpec = EngineSpec()
    profile: DnsName | None = None
    """Name of the RuntimeProfile. Default: the one the operator is told to use (chart: defaultProfile)."""
    scaling: Scaling = Scaling()
    aliases: Annotated[list[ServedName], Field(max_length=16)] | None = None
    """Other names clients may call the model by."""


NAME_RULE = rules(
    (
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]{{0,{MAX_MODEL_NAME - 2}}}[a-z0-9])?$')",
        f"metadata.name must be at most {MAX_MODEL_NAME} characters of a-z, 0-9 and '-', starting with a letter "
        "and not ending with '-': put any other name into spec.aliases",
    ),
)
