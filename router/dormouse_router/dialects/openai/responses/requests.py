"""The bodies clients send, decoded whatever their Content-Type: unknown fields ignored, null taken for absent.

Schemas stay as the bytes they came in: they go on to the engine, and back to the client, as they are.
"""

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from dormouse_router.dataplane.bodies import Number, Whole
from dormouse_router.dataplane.peek import BadBody, decode
from dormouse_router.request import Refusal

PAIRS, KEY_CHARS, VALUE_CHARS = 16, 64, 512
"""Bounds of `metadata`, as OpenAI has them."""
INCLUDE_LOGPROBS = "message.output_text.logprobs"
TOP_LOGPROBS = 20


class Part(Struct):
    """A part of a message's content, of a tool's output or of a reasoning item; `type` says which fields count."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None


class Item(Struct):
    """An item of the input of any type; which fields count is the type's business (`items.py`)."""

    type: str | None = None
    id: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    status: str | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    output: str | list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None


class Tool(Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: Raw = Raw()
    strict: bool | None = None


class Choice(Struct):
    """`tool_choice`, where it is no word."""

    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[Tool] | None = None


class Format(Struct):
    type: str
    name: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None
    description: str | None = None


class Text(Struct):
    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Struct):
    effort: str | None = None
    summary: str | None = None


class Asked(Struct):
    """What a call for an answer and one for its count have in common."""

    model: str
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    prompt: Any = None
    tools: list[Tool] | None = None
    tool_choice: str | Choice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    text: Text | None = None
    truncation: str | None = None


class CountRequest(Asked):
    """POST /v1/responses/input_tokens."""


class CreateRequest(Asked, kw_only=True):
    """POST /v1/responses."""

    background: bool | None = None
    include: list[str] | None = None
    max_output_tokens: Whole | None = None
    max_tool_calls: Whole | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=TOP_LOGPROBS)] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None

    @property
    def logprobs(self) -> int | None:
        """How many alternatives to each token are to be told; None: no log probabilities."""
        if self.top_logprobs or INCLUDE_LOGPROBS in (self.include or ()):
            return self.top_logprobs or 0
        return None


Request = TypeVar("Request", CountRequest, CreateRequest)
_decoders: dict[type, Any] = {kind: msgspec.json.Decoder(kind) for kind in (CountRequest, CreateRequest)}


def read(body: bytes, kind: type[Request]) -> Request:
    """The request in `body`; Refusal 400 where it is no JSON, of the wrong types, or asks for what there is not."""
    try:
        found: Request = decode(_decoders[kind], body)
    except BadBody as bad:
        raise Refusal(400, str(bad), code=bad.code, param=bad.param) from None
    if not found.model:
        raise bad_value("model", "name the model to call")
    _check_common(found)
    if isinstance(found, CreateRequest):
        _check(found)
    return found


def _check_common(found: Asked) -> None:
    if found.conversation is not None:
        raise unsupported("conversation", "conversations are not kept here: continue with previous_response_id")
    if found.prompt is not None:
        raise unsupported("prompt", "prompt templates are not kept here: send the text as instructions and input")
    if found.truncation not in (None, "auto", "disabled"):
        raise bad_value("truncation", "send 'disabled' or 'auto'")


def _check(found: CreateRequest) -> None:
    _within("temperature", found.temperature, 0, 2)
    _within("top_p", found.top_p, 0, 1)
    _within("presence_penalty", found.presence_penalty, -2, 2)
    _within("frequency_penalty", found.frequency_penalty, -2, 2)
    if found.max_output_tokens is not None and found.max_output_tokens < 1:
        raise bad_value("max_output_tokens", "send at least 1")
    if found.background and found.store is False:
        raise bad_value("background", 'an answer in the background must be kept: leave out "store": false')
    if found.stream_options is not None and not found.stream:
        raise bad_value("stream_options", 'it is only allowed together with "stream": true')
    pairs = found.metadata or {}
    if len(pairs) > PAIRS or any(len(k) > KEY_CHARS or len(v) > VALUE_CHARS for k, v in pairs.items()):
        text = f"send at most {PAIRS} pairs, with keys of {KEY_CHARS} and values of {VALUE_CHARS} characters at most"
        raise bad_value("metadata", text)


def _within(name: str, value: float | None, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        raise bad_value(name, f"must be from {least:g} to {most:g}")


def bad_value(param: str, why: str) -> Refusal:
    return Refusal(400, f"Invalid '{param}': {why}.", code="invalid_value", param=param)


def unsupported(param: str, why: str) -> Refusal:
    return Refusal(400, f"Unsupported parameter: '{param}': {why}.", code="unsupported_parameter", param=param)


def missing(param: str) -> Refusal:
    return Refusal(400, f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
