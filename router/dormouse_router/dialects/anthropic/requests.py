"""The bodies clients send, decoded whatever their Content-Type: unknown fields ignored, null taken for absent.

Schemas and tool inputs stay as the bytes they came in: they go on to the engine as they are.
"""

import re
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from dormouse_router.dialects.anthropic.errors import bad_request


class Block(Struct):
    """A content block of any type; which fields count is the type's business (`messages.py`)."""

    type: str
    text: str | None = None
    source: dict[str, Any] | str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = Raw()
    tool_use_id: str | None = None
    content: "str | list[Block] | None" = None
    is_error: bool | None = None
    thinking: str | None = None
    title: str | None = None


class Turn(Struct):
    role: str
    content: str | list[Block]


class Tool(Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: Raw = Raw()
    strict: bool | None = None


class ToolChoice(Struct):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct):
    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Metadata(Struct):
    user_id: str | None = None


class Format(Struct):
    type: str
    schema: Raw = Raw()


class OutputConfig(Struct):
    effort: str | None = None
    format: Format | None = None


class CountRequest(Struct):
    """POST /v1/messages/count_tokens."""

    model: str
    messages: list[Turn]
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None


class MessagesRequest(CountRequest, kw_only=True):
    """POST /v1/messages."""

    max_tokens: int
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    output_format: Format | None = None
    """Where `output_config.format` was while it was in beta."""


Request = TypeVar("Request", CountRequest, MessagesRequest)
_MISSING = re.compile(r"missing required field `([^`]+)`")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")


def decode(body: bytes, kind: type[Request]) -> Request:
    """The request in `body`; Refusal 400 where it is empty, no JSON, or of the wrong types."""
    if not body.strip():
        raise bad_request("The request has no body: send one JSON object.")
    try:
        found = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise bad_request(_sentence(str(error))) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"The request body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise bad_request("The request body is nested too deeply.") from error
    if not found.model:
        raise bad_request("model: name the model to call")
    if not found.messages:
        raise bad_request("messages: at least one message is required")
    return found


def _sentence(text: str) -> str:
    """msgspec's sentence in Anthropic's form: the place, then what is wrong there."""
    at = _AT.search(text)
    place = re.sub(r"\[(\d+|\.\.\.)\]", r".\1", at[1]) if at else ""
    missing = _MISSING.search(text)
    if missing:
        return f"{place}.{missing[1]}: Field required".lstrip(".")
    reason = (text[: at.start()] if at else text).replace("`", "'")
    return f"{place}: {reason}" if place else reason
