"""What the operator tells the runtime pod, and what the supervisor answers on `GET :8001/state`.

The operator decides which engines to try on which folder (`RuntimeConfig.attempts`); the supervisor tries them in
order and says what came of it (`RuntimeState`).
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import Message
from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.names import CACHE_DIR, PORT_ADMIN, PORT_SERVING


class Attempt(Message):
    """One way to serve: an engine on a folder."""

    engine: Engine
    model_dir: str
    """Absolute folder of the weights, such as /models/<commit>-int4."""
    quantization: str = "none"
    """What the folder's weights are served as; transformers makes nf4 and llm-int8 itself from full weights."""


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
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None
    args: tuple[str, ...] = ()
    remote_code: bool = False
    cache_dir: str = CACHE_DIR
    start_seconds: int = 1200
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


class Passed(Message):
    """An attempt that did not come to serve."""

    engine: str
    reason: Reason
    """OutOfMemory, Unsupported, QuantizationFailed or EngineFailed."""
    message: Annotated[str, Field(max_length=1500)]
    seconds: float


class StageAt(Message):
    stage: Stage
    at: float
    """Seconds since the epoch."""


class RuntimeState(Message):
    """Answer of `GET :8001/state`, and of the termination message (`failure` set) when every engine failed."""

    stage: Stage
    model: str
    commit: str
    engine: str | None = None
    """The engine that serves or is being started."""
    quantization: str | None = None
    passed: tuple[Passed, ...] = ()
    timeline: tuple[StageAt, ...] = ()
    restarts: int = 0
    """How often an engine that had served was started again in this pod."""
    failure: Passed | None = None
    """The last word when stage is failed: what the caller and the condition are told."""
