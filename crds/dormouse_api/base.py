"""The base of every object of the API: camelCase on the wire, frozen in memory, unknown fields ignored."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Word = Annotated[str, Field(max_length=128)]
Commit = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""What stands for certain bytes, and names their folder below /models: never a way out of it."""
Folder = Annotated[str, Field(max_length=160, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A folder below /models: of a commit, or of a copy made of it."""


class ApiObject(BaseModel):
    """A value of the Kubernetes API. `wire()` gives the dict to send: camelCase, without what is unset."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        use_enum_values=False,
        use_attribute_docstrings=True,
    )

    def wire(self) -> dict[str, object]:
        """The object as it travels: camelCase keys, plain JSON values, no nulls."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Message(BaseModel):
    """A message between two of our own processes: snake_case on the wire, unknown fields ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)
