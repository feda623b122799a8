"""What a runtime pod says of its GPUs on `GET :8001/gpus`: readings, and what they warn of.

Owns shapes and bounds. The supervisor reads and judges, the operator tells it in status, Events and metrics.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.anatomy import Count
from dormouse_api.base import ApiObject, Message, Timestamp, Word
from dormouse_api.text import Name, plain_to

MAX_GPUS = 64
MAX_WARNINGS = 16
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Celsius = Annotated[int, Field(ge=-100, le=1000)]


class GpuWarningKind(StrEnum):
    """What a GPU may warn of; the names are those of the Events."""

    MEMORY = "Memory"
    TEMPERATURE = "Temperature"
    UTILIZATION = "Utilization"
    LOST = "Lost"
    ERRORS = "Errors"


class Warned(Message):
    """A warning that stands."""

    kind: GpuWarningKind
    message: Annotated[str, plain_to(500), Field(max_length=500)]
    """A sentence with the numbers at its beginning and the way out."""


class GpuReading(Message):
    """One device, or one instance of a divided one (MIG), now. What the driver does not tell is unset."""

    gpu: Name
    """Its number in this pod, or `0/MIG-...` for an instance."""
    name: Name = ""
    uuid: Name = ""
    memory_used: Count | None = None
    """By all processes on the device, in bytes."""
    memory_total: Count | None = None
    utilization: Share | None = None
    """Share of the last moments in which a kernel ran; an instance does not tell it."""
    temperature: Celsius | None = None
    slowdown: Celsius | None = None
    """The temperature at which the device slows itself down."""
    ecc_errors: Count | None = None
    """Memory errors that could not be corrected, since the driver was loaded."""
    xid: Count | None = None
    """The driver's last critical error since the supervisor began."""
    lost: bool = False
    """The driver has lost the device."""
    warnings: Annotated[tuple[Warned, ...], Field(max_length=len(GpuWarningKind))] = ()


class GpuReport(Message):
    """Answer of `GET :8001/gpus`."""

    gpus: Annotated[tuple[GpuReading, ...], Field(max_length=MAX_GPUS)] = ()
    problem: Annotated[str, plain_to(300), Field(max_length=300)] | None = None
    """Why nothing can be read."""


class GpuWarning(ApiObject):
    """What one of its pods' devices warns of."""

    pod: Annotated[str, Field(max_length=253)]
    gpu: Word
    """Its number, or the identity of an instance of a divided one."""
    kind: Word
    """Memory, Temperature, Utilization, Lost or Errors."""
    since: Timestamp
    message: Annotated[str, Field(max_length=512)]
