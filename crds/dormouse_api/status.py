"""The status of an InferenceModel: what the operator saw and decided. Only the operator writes it.

Owns shapes and bounds. Knows nothing of how any of it is found out.
"""

from typing import Annotated

from pydantic import Field

from dormouse_api.adapters import MOST_ADAPTERS, AdapterStatus
from dormouse_api.ahead import Prewarm
from dormouse_api.anatomy import Anatomy
from dormouse_api.base import ApiObject, Commit, Folder, Timestamp, Word
from dormouse_api.gpu import MAX_WARNINGS, GpuWarning
from dormouse_api.runtime import MAX_ADAPTED
from dormouse_api.speculative import DraftStatus
from dormouse_api.starts import ColdStart as ColdStart
from dormouse_api.starts import StageTime as StageTime
from dormouse_api.starts import Starting as Starting
from dormouse_api.versions import MOST_VERSIONS, ModelVersion

Text = Annotated[str, Field(max_length=4096)]


class Condition(ApiObject):
    """A standard Kubernetes condition."""

    type: Word
    status: Annotated[str, Field(pattern="^(True|False|Unknown)$", max_length=7)]
    reason: Word
    message: Text
    observed_generation: int
    last_transition_time: Timestamp


class PullStatus(ApiObject):
    """A pull, or the making of a quantized copy, while it runs."""

    stage: Word
    bytes: int
    total: int
    bytes_per_second: int
    eta_seconds: int | None = None
    percent: Annotated[int, Field(ge=0, le=100)] = 0
    file: Annotated[str, Field(max_length=1024)] | None = None
    announced: Annotated[int, Field(ge=0, le=100)] = 0
    """The last step (25, 50, 75) that an Event told of."""


class EngineAttempt(ApiObject):
    """An engine that was tried and passed over, and why."""

    engine: Word
    reason: Word
    message: Text
    seconds: int = 0


class EngineAdaptation(ApiObject):
    """A setting that was made safer because an engine had run out of memory."""

    engine: Word
    setting: Word
    """maxNumSeqs, maxModelLen, kvCacheMemory, enforceEager or quantization."""
    before: Annotated[Word, Field(alias="from")]
    after: Annotated[Word, Field(alias="to")]
    because: Annotated[str, Field(max_length=256)]


class EngineStatus(ApiObject):
    """Which engine serves, or served last."""

    name: Word
    quantization: Word
    attempts: Annotated[list[EngineAttempt], Field(max_length=8)] | None = None
    """Engines tried before it, with the reason each was passed over."""
    input_schema: Annotated[str, Field(max_length=16_384)] | None = None
    """JSON Schema, as text, of what a custom model's predict takes; known from its first start on."""
    adapted: Annotated[list[EngineAdaptation], Field(max_length=MAX_ADAPTED)] | None = None
    """What engine.adapt has changed, in order; the next start begins with it."""
    adapted_for: Word | None = None
    """Hash of the spec and profile it was changed for: with another, everything is tried in full again."""


class Line(ApiObject):
    """A model's place among those that wait for the same accelerators."""

    since: Timestamp
    position: int
    """1: the next. 0: its turn has come, and it starts."""
    of: int
    holder: Annotated[str, Field(max_length=512)] | None = None
    """<namespace>/<name> of the model that has what it waits for."""
    asked_to_leave: Timestamp | None = None
    """Since when the holder finishes its calls, to make room."""
    seconds: int | None = None
    """About how long until its start begins, where that can be told."""
    turn_at: Timestamp | None = None
    """When its turn came: nobody has what it waits for, and the scheduler is to give it."""


class Queue(ApiObject):
    """A model's place among those whose weights are still to be pulled."""

    since: Timestamp
    position: Annotated[int, Field(ge=1)]
    """1: the next."""
    of: Annotated[int, Field(ge=1)]
    after: Annotated[str, Field(max_length=512)] | None = None
    """<namespace>/<name> of the model before it: of one that is being pulled where it is the next."""


class Swap(ApiObject):
    """One turn on a full accelerator."""

    at: Timestamp
    """When it served."""
    seconds: int
    """From the moment the holder was asked to leave until this model served."""
    waited_seconds: int
    """In line and starting, all in all."""
    holder: Annotated[str, Field(max_length=512)]
    """Who made room."""


class Usage(ApiObject):
    """What the model has cost, and what its sleep has saved. Device-seconds are accelerators times seconds; where the
    profile names none, pods times seconds. What has passed since `at` is not in the totals yet."""

    at: Timestamp
    """When what it holds changed last, or the totals were last brought up to date."""
    resource: Word
    """What is counted: the accelerator's resource name, or pod."""
    held: int
    """Devices its pods have held since `at`."""
    spared: int
    """Devices it has left free since `at`, while it slept and could have been called."""
    awake_seconds: int = 0
    """Device-seconds held."""
    busy_seconds: int = 0
    """Device-seconds held while at least one call was in flight."""
    saved_seconds: int = 0
    """Device-seconds spared."""
    waited_seconds: int = 0
    """Seconds that callers were held, all together."""


class Unplaced(ApiObject):
    """Others made room, and its pod found no device all the same."""

    since: Timestamp
    """When that was seen; an hour later it is tried again."""
    key: Word
    """Hash of the devices that were asked for: with others it is void."""


class Cooldown(ApiObject):
    """Starts that failed one after the other."""

    failures: int
    until: Timestamp
    """Until then it is not started again, and callers are told why."""
    key: Word
    """Hash of what was started (generation and profile): with another the cooldown is over."""
    reason: Word
    message: Text
    ended_at: Timestamp | None = None
    """When the container ended whose failure was counted last: while it is seen, it counts for nothing else."""


class Inspected(ApiObject):
    """What inspection found that later stages need; kept here because Jobs and their pods go."""

    key: Word
    """Hash of what was inspected (source and revision): another key means inspecting anew."""
    files: int = 0
    dtype: Word | None = None
    native_quantization: Word | None = None
    """The quantization the weights already carry."""
    model_type: Word | None = None
    embedding_length: int | None = None
    capabilities: Annotated[list[Word], Field(max_length=16)] | None = None
    """What the weights can, where the profile's own Python makes something else of them."""
    tool_call_parser: Word | None = None
    """vLLM's parser of its family's tool calls, used where the spec names none."""
    reasoning_parser: Word | None = None
    infill: Word | None = None
    """The token of the tokenizer that says which way the model fills gaps in texts, such as <|fim_middle|>."""
    remote_code: bool = False
    """The repository needs its own Python code."""
    anatomy: Anatomy | None = None
    """What its memory is made of; unset where an older version inspected it."""


class CopyQuality(ApiObject):
    """How much of the original the copy kept, on texts that the original wrote itself."""

    tokens: int
    """Positions compared; 0 where nothing was measured."""
    agreement: Word | None = None
    """Share of positions at which both hold the same next token most likely, such as "0.973"."""
    divergence: Word | None = None
    """Mean Kullback-Leibler divergence in nats, such as "0.0124"; 0 is the same model."""
    skipped: Text | None = None
    """Why nothing was measured."""


class QuantizedCopy(ApiObject):
    """The quantized copy on the volume, and what making it once has cost."""

    folder: Folder
    method: Word
    algorithm: Word | None = None
    """rounding, gptq, awq or bitsandbytes."""
    bytes: int
    original_bytes: int | None = None
    seconds: int = 0
    """What making it took; 0 where it was there already."""
    quality: CopyQuality | None = None


class Volume(ApiObject):
    """What is known to lie whole on the volume; void when the claim is another one."""

    claim: Annotated[str, Field(max_length=253)] | None = None
    """Its PersistentVolumeClaim: the model's own, or one that it shares."""
    claim_uid: Word
    folders: Annotated[list[Folder], Field(max_length=8)]
    """Folders below /models that were finished, such as <commit> and <commit>-int4; the one needed last comes last."""
    folder_bytes: Annotated[dict[str, int], Field(max_length=8)] | None = None
    """How large they are, where that is known."""
    removing: Annotated[list[Folder], Field(max_length=8)] | None = None
    """Folders nobody needs any more, until they are gone from the volume."""


class InferenceModelStatus(ApiObject):
    """What the operator saw."""

    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
        ]
        | None
    ) = None
    observed_generation: int | None = None
    served_names: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=32)] | None = None
    commit: Commit | None = None
    bytes: int | None = None
    """Bytes of the weights as pulled."""
    architecture: Word | None = None
    parameters: int | None = None
    context_length: int | None = None
    capabilities: Annotated[list[Word], Field(max_length=16)] | None = None
    quantization: Word | None = None
    """What `auto` came to."""
    quantized: QuantizedCopy | None = None
    """The copy that serves; unset where the weights are served as they were pulled."""
    inspected: Inspected | None = None
    volume: Volume | None = None
    versions: Annotated[list[ModelVersion], Field(max_length=MOST_VERSIONS)] | None = None
    """Commits that were whole on its volume, in the order they came; the latest ones only."""
    adapters: Annotated[list[AdapterStatus], Field(max_length=2 * MOST_ADAPTERS)] | None = None
    """Each adapter of the spec, and those that are being removed."""
    draft: DraftStatus | None = None
    """The draft model of engine.speculative."""
    progress: Word | None = None
    """For `kubectl get`: 42% while pulling or quantizing, `queued 2/5` in the line for a pull."""
    retry_at: Timestamp | None = None
    """When a Job that failed is followed by the next try."""
    pull: PullStatus | None = None
    quantize: PullStatus | None = None
    profile: Word | None = None
    """The RuntimeProfile it runs on."""
    device: Word | None = None
    """Device of the profile it runs on: cpu or cuda."""
    engine: EngineStatus | None = None
    gpu_warnings: Annotated[list[GpuWarning], Field(max_length=MAX_WARNINGS)] | None = None
    """What its devices warn of now."""
    starting: Starting | None = None
    cold_starts: Annotated[list[ColdStart], Field(max_length=5)] | None = None
    queue: Queue | None = None
    """Its place in the line for a pull; unset where it does not wait."""
    line: Line | None = None
    """Its place in the line for a full accelerator; unset where it does not wait."""
    swaps: Annotated[list[Swap], Field(max_length=5)] | None = None
    """The last few turns that another model made room for."""
    unplaced: Unplaced | None = None
    """Nobody is asked to make room for it, because that did not help; unset once it has found a device."""
    cooldown: Cooldown | None = None
    """Starts that failed since the last one that did not."""
    usage: Usage | None = None
    prewarm: Prewarm | None = None
    """What starting it ahead of calls has brought, where scaling.schedules or scaling.learn ask for that."""
    replicas: int | None = None
    ready_replicas: int | None = None
    selector: Annotated[str, Field(max_length=256)] | None = None
