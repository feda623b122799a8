"""What a router pod answers on `GET :9090/demand`; the operator sizes models by the sum over all router pods."""

from pydantic import Field

from dormouse_api.base import Message


class ModelDemand(Message):
    """Who waits for, or is being answered by, one model at one router pod."""

    in_flight: int = 0
    """Requests sent to a runtime pod and not finished."""
    held: int = 0
    """Requests waiting for the model to wake."""
    oldest_wait_seconds: float = 0.0
    """How long the longest-held request has waited."""


class Demand(Message):
    """The whole answer; models with nothing in flight and nobody held may be left out."""

    models: dict[str, ModelDemand] = Field(default_factory=dict)
    """By `<namespace>/<metadata.name>`."""
