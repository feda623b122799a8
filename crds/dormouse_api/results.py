"""What Jobs tell the operator, what the pull pod tells while it works, and the marker on the volume.

A result travels as JSON in the pod's termination message, at most `MAX_MESSAGE` bytes (the kubelet keeps the last
4096 bytes, so a longer one would lose its head). Exactly one of `Outcome`'s fields is set.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from dormouse_api.anatomy import MOST, Anatomy, Count
from dormouse_api.base import Commit, Folder, Message
from dormouse_api.conditions import Reason, failing
from dormouse_api.text import Name, Sentence, plain_to

MAX_MESSAGE = 4000
EXIT_PERMANENT = 42
"""Exit code of a Job whose failure a retry does not cure; the Job's podFailurePolicy ends it at once."""

Capability = Annotated[str, Field(max_length=32, pattern=r"^[a-z]+$")]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
LONGEST_RETRY = 86_400


def _shown(value: float) -> float:
    """Brought within what can be shown and written down: how far something is decides nothing. No number is 0."""
    return max(0, min(value, MOST))


Shown = Annotated[float, AfterValidator(_shown)]
ShownCount = Annotated[int, AfterValidator(_shown)]


class Failure(Message):
    """Why a Job failed: a reason of the closed list, and a sentence with the fix (never a secret)."""

    reason: Annotated[Reason, AfterValidator(failing)]
    message: Sentence
    retry_after_seconds: Annotated[int, AfterValidator(lambda asked: max(0, min(asked, LONGEST_RETRY)))] | None = None
    """What the hub asked for (429), where it did; a day at most."""
    short_bytes: Count | None = None
    """With NoSpace: how many more bytes the volume would have to have, where that is known."""


class InspectResult(Message):
    """What is known of the weights before a byte of them is pulled."""

    commit: Commit
    files: Count
    bytes: Count
    """Bytes of the files a pull would fetch."""
    architecture: Name | None = None
    model_type: Name | None = None
    parameters: Count | None = None
    dtype: Name | None = None
    native_quantization: Name | None = None
    """quant_method of the config: gptq, awq, fp8, compressed-tensors, bitsandbytes, ..."""
    context_length: Count | None = None
    embedding_length: Count | None = None
    infill: Name | None = None
    """The token of the tokenizer that says which way this model fills gaps in texts, where it does."""
    tool_call_parser: Name | None = None
    """vLLM's name of the parser that reads its tool calls, where its family is known."""
    reasoning_parser: Name | None = None
    capabilities: Annotated[tuple[Capability, ...], Field(max_length=16)] = ()
    """Of: completion, tools, insert, vision, embedding, thinking, image, audio."""
    remote_code: bool = False
    """No engine loads the repository without its own Python code (auto_map)."""
    anatomy: Anatomy | None = None
    """For the arithmetic of what fits."""


class PullResult(Message):
    """A finished pull."""

    commit: Commit
    files: Count
    bytes: Count
    fetched_bytes: Count
    """Bytes that came over the network this time: fewer than `bytes` after a resume."""
    seconds: Seconds
    digest: Name
    """sha256 over the sorted list of `path size sha256` lines."""


class AdapterResult(Message):
    """An adapter that was looked at, found good, and pulled."""

    pull: PullResult
    rank: Annotated[int, Field(ge=1, le=100_000)]
    base: Name | None = None
    """What it says that it was made for."""
    targets: Annotated[tuple[Name, ...], Field(max_length=32)] = ()
    """Kinds of layers that it changes."""


class BindResult(Message):
    """The list of a model's adapters was written."""

    adapters: Count
    removed: Annotated[tuple[Folder, ...], Field(max_length=32)] = ()
    """Commits of adapters that were removed from the volume; no more than fit here."""
    missing: Annotated[tuple[Folder, ...], Field(max_length=32)] = ()
    """Commits that are not on the list because they do not lie on the volume: they must be pulled again."""


class Quality(Message):
    """How much of the original a copy kept: both read the same texts, which the original wrote, greedily, from a few
    neutral questions; at each of its tokens their next-token distributions are compared."""

    tokens: Count
    """Positions compared; 0 where nothing was measured."""
    agreement: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    """Share of positions at which both hold the same token most likely."""
    divergence: Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)] | None = None
    """Mean Kullback-Leibler divergence of the copy from the original, in nats."""
    skipped: Sentence | None = None
    """Why nothing was measured."""


class QuantizeResult(Message):
    """A finished quantized copy."""

    directory: Folder
    """Name of the folder below /models."""
    method: Name
    bytes: Count
    seconds: Seconds
    """0 where the copy was there already."""
    original_bytes: Count | None = None
    """Bytes of the weights it was made of."""
    algorithm: Name | None = None
    """rounding, gptq, awq or bitsandbytes."""
    quality: Quality | None = None


class SweepResult(Message):
    """Folders that are gone from a volume."""

    removed: Annotated[tuple[Folder, ...], Field(max_length=16)]
    """Their names; no more than fit here."""
    freed_bytes: Count
    free_bytes: Count
    """What the volume has left for new ones."""


class Outcome(Message):
    """The whole termination message."""

    inspect: InspectResult | None = None
    pull: PullResult | None = None
    quantize: QuantizeResult | None = None
    sweep: SweepResult | None = None
    adapter: AdapterResult | None = None
    bind: BindResult | None = None
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

    stage: Name
    """resolving, fetching, verifying or done."""
    bytes: ShownCount
    total: ShownCount
    bytes_per_second: Shown
    eta_seconds: Shown | None = None
    file: Annotated[str, plain_to(1024), Field(max_length=1024)] | None = None


class MarkerFile(Message):
    path: str
    size: int
    sha256: str
    version: str | None = None
    """What a source without hashes called this content."""


class Marker(Message):
    """`.dormouse.json` in a model folder: written last and atomically, so a folder that has one is whole."""

    source: str
    commit: str
    quantization: str | None = None
    files: tuple[MarkerFile, ...]
    made: QuantizeResult | None = None
    """Of a quantized copy: what its Job told."""
    tools: dict[str, str] = Field(default_factory=dict)
    """Versions of what made the folder."""
