"""What the operator tells the runtime pod, and what the supervisor answers on `GET :8001/state`.

The operator decides which engines to try on which folder (`RuntimeConfig.attempts`); the supervisor tries them in
order and says what came of it (`RuntimeState`).
"""

import json
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from dormouse_api.adapters import MOST_ADAPTERS, AdapterState, LoraConfig
from dormouse_api.anatomy import Count
from dormouse_api.base import Message
from dormouse_api.calibration import CalibrationConfig
from dormouse_api.conditions import Reason, failing
from dormouse_api.model import Engine
from dormouse_api.names import CACHE_DIR, PORT_ADMIN, PORT_SERVING
from dormouse_api.speculative import SpeculativeConfig
from dormouse_api.text import Name, plain_to, told_to

MAX_INPUT_SCHEMA = 16_384
"""Characters: it is kept in the model's status."""
CACHE_BYTES = 2**30
"""What engines may keep of compiled code on a model's volume; the volume is made larger by it."""
LATEST = 253_402_300_799.0
"""The last second that dates can say: the end of the year 9999."""


class Attempt(Message):
    """One way to serve: an engine on a folder."""

    engine: Engine
    model_dir: str
    """Absolute folder of the weights, such as /models/<commit>-int4."""
    quantization: str = "none"
    """What the folder's weights are served as; transformers makes nf4 and llm-int8 itself from full weights."""


class EntryPoint(Message):
    """The Python that the custom engine serves."""

    path: str
    """package.module:Class."""
    config: dict[str, str] = Field(default_factory=dict)
    """What its load is given beside the folder."""


class Setting(StrEnum):
    """What may be made smaller when memory runs out, by the names users know."""

    SEQUENCES = "maxNumSeqs"
    CONTEXT = "maxModelLen"
    KV_CACHE = "kvCacheMemory"
    EAGER = "enforceEager"
    QUANTIZATION = "quantization"


ShortWord = Annotated[str, plain_to(32), Field(max_length=32)]


class Adaptation(Message):
    """A setting that was made safer because an engine had run out of memory."""

    engine: Name
    setting: Setting
    before: ShortWord
    after: ShortWord
    because: Annotated[str, told_to(200), Field(max_length=200)]
    """The engine's own words."""


MAX_ADAPTED = 12


class RuntimeConfig(Message):
    """All a runtime pod needs to know; JSON in the environment variable DORMOUSE_RUNTIME."""

    model: str
    """The name the engine serves the model under: the InferenceModel's own."""
    commit: str
    source: str
    attempts: Annotated[tuple[Attempt, ...], Field(min_length=1)]
    device: str = "cpu"
    """cpu or cuda."""
    devices: int = 1
    """Accelerators of the pod: the tensor-parallel size."""
    kv_cache_bytes: int
    max_num_seqs: int = 64
    max_model_len: int | None = None
    dtype: str = "auto"
    task: str = "generate"
    """generate or embed."""
    custom: EntryPoint | None = None
    """Set where an attempt's engine is custom."""
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None
    speculative: SpeculativeConfig | None = None
    lora: LoraConfig | None = None
    """Set where the engine shall be ready for adapters."""
    args: tuple[str, ...] = ()
    remote_code: bool = False
    adapt: bool = False
    """An engine that runs out of memory is started again with smaller settings."""
    adapted: Annotated[tuple[Adaptation, ...], Field(max_length=MAX_ADAPTED)] = ()
    """What earlier starts came to: the next begins with it."""
    planned_bytes: int | None = None
    """Memory of each device that weights, KV cache and overhead are expected to take."""
    cache_dir: str = CACHE_DIR
    start_seconds: int = 1200
    stall_seconds: int = 300
    """A start that makes no progress for so long hangs."""
    drain_seconds: int = 30
    serving_port: int = PORT_SERVING
    admin_port: int = PORT_ADMIN


class QuantizeConfig(Message):
    """All the quantize Job needs to know; JSON in the environment variable DORMOUSE_QUANTIZE."""

    source: str
    commit: str
    model_dir: str
    """Absolute folder of the weights as pulled, such as /models/<commit>."""
    out_dir: str
    """Absolute folder to make, such as /models/<commit>-int4; on the same volume."""
    method: str
    """int4, int8 or fp8 (compressed-tensors, for vLLM); nf4 or llm-int8 (bitsandbytes, for transformers)."""
    calibration: CalibrationConfig | None = None
    """Texts to steer the rounding by; without, it is data-free."""
    compare: bool = True
    """Whether the copy is compared with its original, for `Quality`."""
    remote_code: bool = False
    cache_dir: str = CACHE_DIR
    admin_port: int = PORT_ADMIN


class Stage(StrEnum):
    """The stages of a start, in order; `failed` ends one that found no engine."""

    STARTING = "starting"
    IMPORTING = "importing"
    LOADING = "loading"
    COMPILING = "compiling"
    WARMING = "warming"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


def schema_text(value: object) -> str | None:
    """A schema of somebody's, as JSON that no terminal obeys; None where it is none, or too long."""
    if not isinstance(value, str) or len(value) > MAX_INPUT_SCHEMA:
        return None
    try:
        text = json.dumps(json.loads(value), separators=(",", ":"))
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_INPUT_SCHEMA else None


class Passed(Message):
    """An attempt that did not come to serve."""

    engine: Name
    reason: Annotated[Reason, AfterValidator(failing)]
    """OutOfMemory, Unsupported, QuantizationFailed or EngineFailed."""
    message: Annotated[str, told_to(1500), Field(max_length=1500)]
    seconds: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class StageAt(Message):
    stage: Stage
    at: Annotated[float, Field(ge=0, le=LATEST, allow_inf_nan=False)]
    """Seconds since the epoch."""


class RuntimeState(Message):
    """Answer of `GET :8001/state`, and of the termination message (`failure` set) when every engine failed."""

    stage: Stage
    model: str
    commit: str
    engine: Name | None = None
    """The engine that serves or is being started."""
    quantization: Name | None = None
    passed: tuple[Passed, ...] = ()
    timeline: tuple[StageAt, ...] = ()
    adapters: Annotated[tuple[AdapterState, ...], Field(max_length=2 * MOST_ADAPTERS)] = ()
    """What came of each adapter on the list."""
    input_schema: Annotated[str | None, BeforeValidator(schema_text)] = None
    """JSON Schema, as text, of what the engine takes: of a custom model that serves."""
    restarts: Count = 0
    """How often an engine that had served was started again in this pod."""
    adapted: Annotated[tuple[Adaptation, ...], Field(max_length=MAX_ADAPTED)] = ()
    """Settings that were made smaller, those of earlier starts included."""
    failure: Passed | None = None
    """The last word when stage is failed: what the caller and the condition are told."""
