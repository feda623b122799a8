"""InferenceRoute v1alpha1: a name that clients call, and the models that answer under it.

Owns shapes, bounds, defaults and the CEL rules; `schema.py` turns them into the CRD. A route has no status: nothing
runs for it, and whether its models can serve is theirs to say. `spec.defaults` holds only what the router can put into
a request: a chat template in the engine's own language is loaded with the weights and so belongs to the InferenceModel.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from dormouse_api.base import ApiObject
from dormouse_api.bounds import DnsName, ServedName
from dormouse_api.names import MAX_MODEL_NAME, MAX_ROUTE_NAME
from dormouse_api.schema import rules

ModelName = Annotated[str, Field(max_length=MAX_MODEL_NAME, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")]
"""metadata.name of an InferenceModel of the route's own namespace."""


class Variant(ApiObject):
    """One of the models that answer, and how often."""

    model: ModelName
    """metadata.name of an InferenceModel in the route's own namespace."""
    weight: Annotated[int, Field(ge=0, le=1000)] = 1
    """Share of the calls, in proportion to the other weights. 0: none."""
    name: DnsName | None = None
    """What answers and metrics call this variant. Default: its model."""

    @property
    def label(self) -> str:
        return self.name or self.model


class StickyBy(StrEnum):
    """What keeps a caller on one variant."""

    NONE = "None"
    USER = "User"
    SESSION = "Session"
    HEADER = "Header"


class Sticky(ApiObject):
    """Which callers always get the same variant."""

    model_config = ApiObject.model_config | {
        "json_schema_extra": rules(
            ("self.by != 'Header' || has(self.header)", "sticky.by Header needs sticky.header: name a request header"),
            (
                "self.by == 'Header' || !has(self.header)",
                "sticky.header is read with by Header only: remove one of them",
            ),
        )
    }

    by: StickyBy
    """User: `user` or `safety_identifier` of OpenAI's API, `metadata.user_id` of Anthropic's. Session: the header
    x-dormouse-session, else `prompt_cache_key` of OpenAI's API. Header: the header named below. A call without any goes
    by weight alone."""
    header: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")] | None = None
    """A request header, in any case."""


class Role(StrEnum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class CannedMessage(ApiObject):
    """A turn that every conversation begins with."""

    role: Role
    content: Annotated[str, Field(max_length=16_384)]


class Defaults(ApiObject):
    """What a call gets that does not say otherwise; what a request sets itself always wins."""

    system: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    """System prompt of a conversation that brings none."""
    messages: Annotated[list[CannedMessage], Field(min_length=1, max_length=32)] | None = None
    """Turns before the conversation's own, after its system prompt."""
    template: Annotated[str, Field(min_length=1, max_length=16_384)] | None = None
    """A prompt in the language of Ollama's templates, which the router writes instead of the engine. Chats and prompts
    of Ollama's API only: chats of any other are refused."""
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    """0: no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=16_777_216)] | None = None
    """Longest answer in tokens."""
    stop: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(min_length=1, max_length=16)] | None
    ) = None
    """Texts an answer ends before."""
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None


_LABEL = "(has({0}.name) ? {0}.name : {0}.model)"

VARIANT_RULES = rules(
    ("self.exists(v, v.weight > 0)", "spec.variants: every weight is 0, so nobody would answer: raise one of them"),
    (
        "self.all(x, self.exists_one(y, y.model == x.model))",
        "spec.variants names a model twice: name it once, with both weights added",
    ),
    (
        f"self.all(x, self.exists_one(y, {_LABEL.format('y')} == {_LABEL.format('x')}))",
        "spec.variants has two variants of one name: give each its own (the default is the model's name)",
    ),
)
FALLBACK_RULES = rules(
    (
        "self.all(x, self.exists_one(y, y == x))",
        "spec.fallback names a model twice: name each once, the best first",
    ),
)


class InferenceRouteSpec(ApiObject):
    """Which models answer, and what their callers need not say."""

    variants: Annotated[list[Variant], Field(min_length=1, max_length=16, json_schema_extra=VARIANT_RULES)]
    """The models that answer, by weight."""
    aliases: Annotated[list[ServedName], Field(max_length=16)] | None = None
    """Other names clients may call the route by."""
    defaults: Defaults | None = None
    license: Annotated[str, Field(min_length=1, max_length=65_536)] | None = None
    """The licence that Ollama's `show` tells for this name. Default: where that of the weights is said."""
    sticky: Sticky | None = None
    fallback: Annotated[list[ModelName], Field(max_length=8, json_schema_extra=FALLBACK_RULES)] | None = None
    """Models that answer, in this order, where the chosen one is missing or has failed. One that sleeps is woken."""


ROUTE_NAME_RULE = rules(
    (
        f"size(self.metadata.name) <= {MAX_ROUTE_NAME}",
        f"metadata.name must be at most {MAX_ROUTE_NAME} characters: put any longer name into spec.aliases",
    ),
)
