"""The status of an InferenceModel: what the operator saw and decided. Only the operator writes it.

Owns shapes and bounds. Knows nothing of how any of it is found out.
"""

from typing import Annotated

from pydantic import Field, WithJsonSchema

from dormouse_api.anatomy import Anatomy
from dormouse_api.base import ApiObject

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Text = Annotated[str, Field(max_length=4096)]
Word = Annotated[str, Field(max_length=128)]


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


class EngineAttempt(ApiObject):
    """An engine that was tried and passed over, and why."""

    engine: Word
    reason: Word
    message: Text
    seconds: int = 0


class EngineStatus(ApiObject):
    """Which engine serves, or served last."""

    name: Word
    quantization: Word
    attempts: Annotated[list[EngineAttempt], Field(max_length=8)] | None = None
    """Engines tried before it, with the reason each was passed over."""


class StageTime(ApiObject):
    """One stage of a start, in milliseconds from the moment the wake was asked for."""

    stage: Word
    at_milliseconds: int


class ColdStart(ApiObject):
    """One recorded start. Starts are comparable when profile, quantization and engine are the same."""

    at: Timestamp
    seconds: int
    engine: Word
    """The engine that came to serve."""
    passed: Annotated[list[Word], Field(max_length=8)] | None = None
    """Engines that were tried before it."""
    profile: Word | None = None
    """Unset where the pod ran as it was deployed before, for another spec than the present one."""
    quantization: Word | None = None
    """What the weights were served as: `status.quantization` at that time."""
    stages: Annotated[list[StageTime], Field(max_length=16)]


class Starting(ApiObject):
    """The start that is under way."""

    at: Timestamp
    """When it was asked for, to the microsecond where that is known."""
    engine: Word | None = None
    """The engine that is being started, once one is."""
    profile: Word | None = None
    quantization: Word | None = None
    stages: Annotated[list[StageTime], Field(max_length=16)]
    """The last one is under way."""


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


class Cooldown(ApiObject):
    """Starts that failed one after the other."""

    failures: int
    until: Timestamp
    """Until then it is not started again, and callers are told why."""
    key: Word
    """Hash of what was started (generation and profile): with another the cooldown is over."""
    reason: Word
    message: Text


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
    infill: Word | None = None
    """The token of the tokenizer that says which way the model fills gaps in texts, such as <|fim_middle|>."""
    remote_code: bool = False
    """The repository needs its own Python code."""
    anatomy: Anatomy | None = None
    """What its memory is made of; unset where an older version inspected it."""


class Volume(ApiObject):
    """What is known to lie whole on the volume; void when the claim is another one."""

    claim_uid: Word
    folders: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=8)]
    """Folders below /models that were finished, such as <commit> and <commit>-int4."""


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
    commit: Word | None = None
    bytes: int | None = None
    """Bytes of the weights as pulled."""
    architecture: Word | None = None
    parameters: int | None = None
    context_length: int | None = None
    capabilities: Annotated[list[Word], Field(max_length=16)] | None = None
    quantization: Word | None = None
    """What `auto` came to."""
    inspected: Inspected | None = None
    volume: Volume | None = None
    progress: Word | None = None
    """One word for `kubectl get`: 42% while pulling or quantizing."""
    retry_at: Timestamp | None = None
    """When a Job that failed is followed by the next try."""
    pull: PullStatus | None = None
    quantize: PullStatus | None = None
    profile: Word | None = None
    """The RuntimeProfile it runs on."""
    device: Word | None = None
    """Device of the profile it runs on: cpu or cuda."""
    engine: EngineStatus | None = None
    starting: Starting | None = None
    cold_starts: Annotated[list[ColdStart], Field(max_length=5)] | None = None
    line: Line | None = None
    """Its place in the line for a full accelerator; unset where it does not wait."""
    swaps: Annotated[list[Swap], Field(max_length=5)] | None = None
    """The last few turns that another model made room for."""
    cooldown: Cooldown | None = None
    """Starts that failed since the last one that did not."""
    replicas: int | None = None
    ready_replicas: int | None = None
    selector: Annotated[str, Field(max_length=256)] | None = None
