"""What of a model's source has been on its volume: `status.versions`, written by the operator."""

from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject, Commit, Timestamp, Word

MOST_VERSIONS = 16


class ModelVersion(ApiObject):
    """One commit of the source that was pulled whole."""

    commit: Commit
    revision: Annotated[str, Field(max_length=128)]
    """The branch, tag or commit it was asked for by, the last time."""
    at: Timestamp
    """When it was first whole on a volume of this model."""
    quantization: Word | None = None
    """What it was served as, the last time."""
    bytes: int | None = None
    """Of the weights as pulled."""
