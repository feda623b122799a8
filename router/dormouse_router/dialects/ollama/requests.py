"""The bodies clients send, decoded whatever their Content-Type: unknown fields ignored, null taken for absent."""

from typing import Any, TypeVar

import msgspec

from dormouse_router.dialects.ollama.errors import bad_request


class ToolFunction(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str | None = None


class ToolCall(msgspec.Struct):
    function: ToolFunction
    id: str | None = None


class Message(msgspec.Struct):
    """One turn. `content` may also be a list of OpenAI content parts, which some clients send."""

    role: str = ""
    content: str | list[dict[str, Any]] | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Common(msgspec.Struct):
    """What every request that reaches a model may carry."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    options: dict[str, Any] | None = None
    keep_alive: Any = None
    format: Any = None
    think: Any = None
    truncate: bool | None = None
    shift: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class ChatRequest(Common):
    messages: list[Message] | None = None
    tools: list[dict[str, Any]] | None = None


class GenerateRequest(Common):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    raw: bool | None = None
    images: list[str] | None = None


class EmbedRequest(Common):
    input: Any = None
    prompt: str | None = None
    dimensions: int | None = None


class NameRequest(msgspec.Struct):
    """pull, show and delete: `name` is the older spelling of `model`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    verbose: bool | None = None
    insecure: bool | None = None


class CreateRequest(NameRequest):
    """What a Modelfile says. Renderer, parser, requires and info are ignored: the weights' own hold."""

    from_: str | None = msgspec.field(default=None, name="from")
    files: dict[str, Any] | None = None
    adapters: dict[str, Any] | None = None
    quantize: str | None = None
    template: str | None = None
    system: str | None = None
    parameters: dict[str, Any] | None = None
    messages: list[Message] | None = None
    license: str | list[str] | None = None


class CopyRequest(msgspec.Struct):
    source: str | None = None
    destination: str | None = None


Request = TypeVar("Request", ChatRequest, GenerateRequest, EmbedRequest, NameRequest, CreateRequest, CopyRequest)


def decode(body: bytes, kind: type[Request]) -> Request:
    """The request in `body`; Refusal 400 where it is empty, no JSON, or of the wrong types."""
    if not body.strip():
        raise bad_request("missing request body")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"invalid request: {error}") from error


def model_of(request: Common | NameRequest) -> str:
    """The name the client asks for, as it wrote it."""
    name = request.model or request.name or ""
    if not name:
        raise bad_request("model is required")
    return name
