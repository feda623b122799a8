"""What Jobs tell the operator, what the pull pod tells while it works, and the marker on the volume.

A result travels as JSON in the pod's termination message, at most `MAX_MESSAGE` bytes (the kubelet keeps the last
4096 bytes, so a longer one would lose its head). Exactly one of `Outcome`'s fields is set.
"""

from typing import Annotated

from pydantic import Field

from dormouse_api.anatomy import Anatomy
from dormouse_api.base import Message
from dormouse_api.conditions import Reason

MAX_MESSAGE = 4000
EXIT_PERMANENT = 42
"""Exit code of a Job whose failure a retry does not cure; the Job's podFailurePolicy ends it at once."""


class Failure(Message):
    """Why a Job failed: a reason of the closed list, and a sentence with the fix (never a secret)."""

    reason: Reason
    message: Annotated[str, Field(max_length=2000)]
    retry_after_seconds: int | None = None
    """What the hub asked for (429), where it did."""


class InspectResult(Message):
    """What is known of the weights before a byte of them is pulled."""

    commit: str
    files: int
    bytes: int
    """Bytes of the files a pull would fetch."""
    architecture: str | None = None
    model_type: str | None = None
    parameters: int | None = None
    dtype: str | None = None
    native_quantization: str | None = None
    """quant_method of the config: gptq, awq, fp8, compressed-tensors, bitsandbytes, ..."""
    context_length: int | None = None
    embedding_length: int | None = None
    infill: str | None = None
    """The token of the tokenizer that says which way this model fills gaps in texts, where it does."""
    capabilities: tuple[str, ...] = ()
    """Of: completion, tools, insert, vision, embedding, thinking, image, audio."""
    remote_code: bool = False
    """The repository needs its own Python code (auto_map)."""
    anatomy: Anatomy | None = None
    """For the arithmetic of what fits."""


class PullResult(Message):
    """A finished pull."""

    commit: str
    files: int
    bytes: int
    fetched_bytes: int
    """Bytes that came over the network this time: fewer than `bytes` after a resume."""
    seconds: float
    digest: str
    """sha256 over the sorted list of `path size sha256` lines."""


class QuantizeResult(Message):
    """A finished quantized copy."""

    directory: str
    """Name of the folder below /models."""
    method: str
    bytes: int
    seconds: float


class Outcome(Message):
    """The whole termination message."""

    inspect: InspectResult | None = None
    pull: PullResult | None = None
    quantize: QuantizeResult | None = None
    failure: Failure | None = None

    def text(self) -> str:
        """The message as JSON of at most `MAX_MESSAGE` bytes; only a failure's own words are cut to fit."""
        text = self.model_dump_json(exclude_none=True)
        over = len(text.encode()) - MAX_MESSAGE
        if over <= 0 or self.failure is None:
            return text
        words = self.failure.message.encode()[: max(0, len(self.failure.message.encode()) - over - 8)]
        short = self.failure.model_copy(update={"message": words.decode(errors="ignore") + "..."})
        return Outcome(failure=short).model_dump_json(exclude_none=True)


class Progress(Message):
    """Answer of the pull pod's `GET :8001/progress`."""

    stage: str
    """resolving, fetching, verifying or done."""
    bytes: int
    total: int
    bytes_per_second: float
    eta_seconds: float | None = None
    file: str | None = None


class MarkerFile(Message):
    path: str
    size: int
    sha256: str


class Marker(Message):
    """`.dormouse.json` in a model folder: written last and atomically, so a folder that has one is whole."""

    source: str
    commit: str
    quantization: str | None = None
    files: tuple[MarkerFile, ...]
    tools: dict[str, str] = Field(default_factory=dict)
    """Versions of what made the folder."""
