"""InferenceModel v1alpha1: the one object a user writes (its status, which the operator writes, is in `status.py`).

Owns shapes, bounds, defaults and the CEL rules; `schema.py` turns them into the CRD. A field is here only when
something obeys it. Every bound is there for the API server's CEL cost estimate as much as for sanity.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.access import Access
from dormouse_api.adapters import MOST_ADAPTERS, Adapter, Lora
from dormouse_api.ahead import Learn, Schedule
from dormouse_api.base import ApiObject
from dormouse_api.bounds import DnsName, Flag, ObjectName, Quantity, ServedName
from dormouse_api.calibration import Calibration
from dormouse_api.names import MAX_MODEL_NAME
from dormouse_api.schema import rules
from dormouse_api.source import Source
from dormouse_api.speculative import Speculative

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
    DIFFUSERS = "diffusers"
    """Pictures: taken for every repository with a model_index.json."""
    CUSTOM = "custom"
    """The administrator's own Python: taken for every model whose profile has `custom`."""


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
    """Use this PersistentVolumeClaim of the same namespace instead of making one; it is never resized, nor cleared."""
    share: bool = True
    """Models of this namespace with the same source, commit and storage use one volume: nothing is pulled twice.
    With ReadWriteOnce their pods then run on one node. false: a volume of its own."""


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
                "!has(self.args) || self.args.all(a, !a.startsWith('--generation-config') || "
                "a in ['--generation-config=auto', '--generation-config=vllm'])",
                "engine.args: --generation-config takes auto (the model's own) or vllm (none) and no folder: write "
                "--generation-config=vllm",
            ),
            (
                "self.order.all(x, self.order.exists_one(y, x == y))",
                "engine.order names an engine twice: name each engine once",
            ),
        )
    }

    order: Annotated[list[Engine], Field(min_length=1, max_length=4)] = [Engine.VLLM, Engine.TRANSFORMERS]  # noqa: RUF012
    """Engines to try for a language model, best first; why one was passed over is in status.engine. Models of pictures
    (diffusers) and those whose profile names an entry point (custom) have one engine, whatever stands here."""
    max_model_len: Annotated[int, Field(ge=16, le=16_777_216)] | None = None
    """Longest context in tokens. Default: the model's own, or what the KV memory holds."""
    dtype: Dtype = Dtype.AUTO
    task: Task = Task.AUTO
    tool_call_parser: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] | None = None
    """vLLM's name of the parser, or none. Default: by the model's family, where its chat template takes tools."""
    reasoning_parser: Annotated[str, Field(max_length=64, pattern=r"^[a-z0-9_]+$")] | None = None
    """vLLM's name of the parser, or none. Default: by the model's family, where its chat template thinks."""
    chat_template: Annotated[str, Field(max_length=65_536)] | None = None
    """A Jinja template that replaces the model's own."""
    speculative: Speculative | None = None
    """Guess tokens ahead, for more tokens a second. A change restarts the runtime pods."""
    lora: Lora = Lora()
    """Room for adapters, where spec.adapters is set."""
    args: (
        Annotated[
            list[Flag],
            Field(max_length=16),
        ]
        | None
    ) = None
    """More vLLM flags, from a short allowed list."""
    adapt: bool = False
    """Start an engine that ran out of memory again with smaller settings: fewer sequences, a shorter context (never
    below maxModelLen), a smaller KV cache, eager mode, and with quantization auto an int4 copy. What was changed is in
    status.engine.adapted, and forgotten with the next change of engine, quantization, weights or profile."""


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
            (
                "!has(self.schedules) || self.schedules.all(s, s.minReplicas <= self.maxReplicas)",
                "scaling.schedules[].minReplicas must not exceed scaling.maxReplicas: raise maxReplicas or lower it",
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
    schedules: Annotated[list[Schedule], Field(max_length=8)] | None = None
    """Windows in which the model has pods though nobody calls."""
    learn: Learn | None = None
    """Start the model ahead of the hours in which it was called before."""


class InferenceModelSpec(ApiObject):
    """What the user wants."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            (
                "!(self.quantization in ['nf4', 'llm-int8']) || 'transformers' in self.engine.order",
                "quantization nf4 and llm-int8 are served by transformers only: add transformers to engine.order, "
                "or set quantization to int4 or int8",
            ),
            (
                "!has(self.adapters) || self.adapters.size() == 0 || 'vllm' in self.engine.order",
                "adapters are served by vllm only: add vllm to engine.order, or remove spec.adapters",
            ),
            (
                "!has(self.adapters) || self.adapters.size() == 0 || !(self.quantization in ['nf4', 'llm-int8'])",
                "adapters are served by vllm only, which serves no nf4 and no llm-int8: set quantization to int4 or "
                "int8, or remove spec.adapters",
            ),
            (
                "!has(self.calibration) || self.quantization == 'int4' || "
                "(self.quantization == 'int8' && self.calibration.algorithm == 'gptq')",
                "calibration is for quantization int4, or int8 with algorithm gptq: set quantization, or remove "
                "calibration",
            ),
            (
                "!has(self.calibration) || 'vllm' in self.engine.order",
                "a calibrated copy is served by vllm: add it to engine.order, or remove calibration",
            ),
        )
    }

    source: Source
    storage: Storage = Storage()
    quantization: Quantization = Quantization.AUTO
    calibration: Calibration | None = None
    """Make the quantized copy with the help of texts. Default: rounding, which needs none."""
    engine: EngineSpec = EngineSpec()
    profile: DnsName | None = None
    """Name of the RuntimeProfile. Default: the one the operator is told to use (chart: defaultProfile)."""
    scaling: Scaling = Scaling()
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Who goes first in the lines for a pull and for a full accelerator: the higher, as with Kubernetes' priority
    classes. It ends no call and no pull that is under way; ten minutes in the line for an accelerator go before any
    priority, so that nobody waits for ever."""
    aliases: Annotated[list[ServedName], Field(max_length=16)] | None = None
    """Other names clients may call the model by."""
    adapters: (
        Annotated[
            list[Adapter],
            Field(
                max_length=MOST_ADAPTERS,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """LoRA adapters, each served as <model>:<name>. They come and go without a restart, once this is set: an empty
    list keeps the engine ready for them."""
    description: Annotated[str, Field(max_length=2048)] | None = None
    """What people are told of it in lists of models."""
    access: Access | None = None
    """Whose it is, and who may see and call it. Default: everybody's. Nothing restarts when it changes."""


NAME_RULE = rules(
    (
        f"self.metadata.name.matches('^[a-z]([-a-z0-9]{{0,{MAX_MODEL_NAME - 2}}}[a-z0-9])?$')",
        f"metadata.name must be at most {MAX_MODEL_NAME} characters of a-z, 0-9 and '-', starting with a letter "
        "and not ending with '-': put any other name into spec.aliases",
    ),
)
