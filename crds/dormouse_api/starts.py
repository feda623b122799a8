"""A model's starts as its status tells them: the one under way, and the last few that ended well. Shapes and bounds."""

from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject, Timestamp, Word


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
    first_token_milliseconds: Annotated[int, Field(ge=0)] | None = None
    """From the moment it was asked for to the first token of the first stream that waited for it; unset where none
    did."""


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
