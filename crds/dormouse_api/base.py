"""The base of every object of the API: camelCase on the wire, frozen in memory, unknown fields ignored."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


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
