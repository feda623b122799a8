"""LoRA adapters of an InferenceModel: what the spec says of them, what the status tells, and the list on the volume.

An adapter is served as `<model>:<adapter>` beside its model, and comes and goes without a restart. The list is a file
on the model's volume that a Job writes and the runtime pod reads: neither needs a right on the API server.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from dormouse_api.base import ApiObject, Commit, Message, Word
from dormouse_api.schema import rules
from dormouse_api.source import Place
from dormouse_api.text import Name

MOST_ADAPTERS = 16
ADAPTERS_DIR = ".adapters"
"""Below the models folder: a folder for each adapter's commit, and a list for each model. No sweep touches it."""
ADAPTER_CONFIG = "adapter_config.json"

AdapterName = Annotated[
    str,
    Field(
        max_length=40,
        pattern=r"^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$",
        json_schema_extra=rules(
            ("self != 'latest'", "adapters[].name: 'latest' means the model itself: give the adapter another name")
        ),
    ),
]
Rank = Literal[8, 16, 32, 64, 128, 256, 320, 512]


class Adapter(ApiObject):
    """A LoRA adapter of the model."""

    name: AdapterName
    """Clients call it as <model>:<name>."""
    source: Place
    """Where its weights come from: a repository in PEFT's layout (adapter_config.json, adapter_model.safetensors)."""


class Lora(ApiObject):
    """Room the engine keeps for adapters. A change restarts the runtime pods; adapters within it do not."""

    max_rank: Rank = 64
    """Highest rank of an adapter."""
    max_active: Annotated[int, Field(ge=1, le=16)] = 4
    """Different adapters in one batch; requests for one more wait for a batch. Each takes memory of the device."""


class AdapterReason(StrEnum):
    """How far an adapter has come; the reason of a failure is one of the conditions'."""

    PENDING = "Pending"
    PULLING = "Pulling"
    LOADING = "Loading"
    """It lies on the volume, and the runtime pods do not have it yet."""
    PULLED = "Pulled"
    """It lies on the volume, and is loaded when the model wakes."""
    LOADED = "Loaded"
    REMOVING = "Removing"


class AdapterStatus(ApiObject):
    """An adapter as it stands."""

    name: Word
    ready: bool
    """A call by its name is answered, perhaps after a wake."""
    reason: Word
    """Pending, Pulling, Loading, Pulled, Loaded, Removing, or why it is not."""
    message: Annotated[str, Field(max_length=2048)]
    key: Word | None = None
    """Hash of the source that was pulled; another one is pulled anew."""
    claim_uid: Word | None = None
    """The volume on which it lies."""
    commit: Commit | None = None
    bytes: int | None = None
    rank: int | None = None
    base: Word | None = None
    """The model it says that it was made for."""
    bound: Commit | None = None
    """What the list on the volume names under this name; runtime pods have it, or load it when they start."""


class AdapterEntry(Message):
    """An adapter on the list."""

    name: Word
    commit: Commit


class AdapterList(Message):
    """`<uid of the model>.json` in ADAPTERS_DIR: what its runtime pods shall serve. Replaced whole, atomically."""

    adapters: Annotated[tuple[AdapterEntry, ...], Field(max_length=MOST_ADAPTERS)] = ()


class AdapterState(Message):
    """What a runtime pod says of an adapter."""

    name: Name
    commit: Commit
    loaded: bool
    message: Annotated[str, Field(max_length=2000)] = ""
    """Why it is not loaded."""


class LoraConfig(Message):
    """What a runtime pod is told of adapters. Which ones there are, the list says, not this."""

    list: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    """Name of the list without its ending: the model's uid."""
    max_rank: int
    max_active: int
