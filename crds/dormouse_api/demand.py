"""What a router pod answers on `GET :9090/demand`; the operator sizes models by the sum over all router pods."""

from typing import Annotated

from pydantic import Field

from dormouse_api.base import Message

FIRST_TOKEN_TOLD = 30.0
"""Longer than several polls take."""


class ModelDemand(Message):
    """Who waits for, or is being answered by, one model at one router pod."""

    in_flight: int = 0
    """Requests sent to a runtime pod and not finished."""
    held: int = 0
    """Requests waiting for the model to wake."""
    oldest_wait_seconds: float = 0.0
    """How long the longest-held request has waited."""
    first_token_ago_seconds: Annotated[float, Field(ge=0, le=FIRST_TOKEN_TOLD)] | None = None
    """How long ago the first of the streams that waited for the last wake had its first token; told for
    FIRST_TOKEN_TOLD seconds, by the router that held it."""


class Demand(Message):
    """The whole answer; models with nothing in flight and nobody held may be left out."""

    models: dict[str, ModelDemand] = Field(default_factory=dict)
    """By `<namespace>/<metadata.name>`."""
