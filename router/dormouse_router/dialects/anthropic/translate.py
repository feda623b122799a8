"""A Messages request as the engine's chat request: checked first, so that bad input never wakes a model.

Pure: from the decoded request and what the catalogue knows of the model to the body the engine gets.
"""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects import chunks
from dormouse_router.dialects.anthropic import messages, tools
from dormouse_router.dialects.anthropic.errors import bad_request
from dormouse_router.dialects.anthropic.requests import CountRequest, Format, MessagesRequest, Thinking

_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING = {"enabled": True, "adaptive": True, "between_tools": True, "disabled": False}
_HOTTEST = 2.0
_LARGEST = 2**31 - 1
_SESSION_CHARS = 256
_SMALLEST_SHARE = 1e-6
"""For a `top_p` of 0, which engines refuse: one token all the same."""


@dataclass(frozen=True)
class Plan:
    """What to send, and how the client wants the answer."""

    body: dict[str, Any]
    stream: bool = False
    show_thinking: bool = True
    """False: reasoning the engine sends all the same is left out."""
    sign_only: bool = False
    """Thinking blocks come without their text."""
    tagged: bool = False
    """The model may write its reasoning into its text, between tags."""
    session: bytes = b""
    """`Call.session`, where the client says whose call it is."""
    cut: bool = False
    """It asks for less than the client did, after an engine that had no room for that."""

    @property
    def payload(self) -> bytes:
        """`body` as it is sent."""
        return msgspec.json.encode(self.body)

    def with_room(self, tokens: int | None) -> "Plan | None":
        """A plan that asks for no more than `tokens`; None where that is not fewer, or this one was cut already."""
        if self.cut or tokens is None or not 0 < tokens < self.body["max_tokens"]:
            return None
        return replace(self, body={**self.body, "max_tokens": tokens}, cut=True)


def message_plan(request: MessagesRequest, record: Record) -> Plan:
    """The plan of POST /v1/messages."""
    thinks = _can(record, "thinking")
    thinking = _thinking(request.thinking)
    body = _conversation(request, record) | _sampling(request, record)
    stream = bool(request.stream)
    body["stream"] = stream
    if stream:
        body["stream_options"] = chunks.USAGE  # from the first event on: message_start tells the prompt's tokens
    offered = tools.to_openai(request.tools)
    if offered:
        body["tools"] = offered
    body |= tools.choice(request.tool_choice, offered)
    if thinks:
        body |= _template(thinking)
    effort = _effort(request)
    if effort and thinks and thinking:
        body["reasoning_effort"] = effort
    if wanted := _format(request):
        body["response_format"] = wanted
    user = request.metadata.user_id if request.metadata is not None else None
    if user:
        body["user"] = user
    return Plan(
        body=body,
        stream=stream,
        show_thinking=request.thinking is None or thinking,
        sign_only=request.thinking is not None and request.thinking.display == "omitted",
        tagged="thinking" in (record.status.capabilities or ()),
        session=(user or "")[:_SESSION_CHARS].encode(),
    )


def count_plan(request: CountRequest, record: Record) -> Plan:
    """The plan of POST /v1/messages/count_tokens: the same conversation for the engine's tokenizer."""
    body = _conversation(request, record)
    if offered := tools.to_openai(request.tools):
        body["tools"] = offered
    tools.choice(request.tool_choice, offered)
    thinking = _thinking(request.thinking)
    if _can(record, "thinking"):
        body |= _template(thinking)
    return Plan(body)


def _conversation(request: CountRequest, record: Record) -> dict[str, Any]:
    talk = messages.to_openai(request.system, request.messages)
    known = record.status.capabilities
    if known and "completion" not in known and "embedding" in known:
        raise bad_request(f"model: '{request.model}' only embeds: use POST /v1/embeddings")
    if messages.has_images(talk) and not _can(record, "vision"):
        raise bad_request(f"model: '{request.model}' does not take images: send text, or use another model")
    body: dict[str, Any] = {"model": record.called, "messages": talk}
    last = talk[-1] if talk else {}
    if last.get("role") == "assistant" and not last.get("tool_calls"):
        # the beginning of the answer, which the engine goes on with
        last["content"] = last["content"].rstrip()
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    return body


def _can(record: Record, capability: str) -> bool:
    """Whether the model may be capable: nothing is known of one that was not inspected yet."""
    known = record.status.capabilities
    return known is None or capability in known


def _thinking(wish: Thinking | None) -> bool:
    """Whether the model shall think: only where the client asks for it."""
    if wish is None:
        return False
    if wish.type not in _THINKING:
        raise bad_request(f"thinking.type: must be enabled, disabled or adaptive, not '{wish.type[:40]}'")
    return _THINKING[wish.type]


def _template(thinking: bool) -> dict[str, Any]:
    return {"chat_template_kwargs": {"enable_thinking": thinking}}


def _effort(request: MessagesRequest) -> str | None:
    effort = request.output_config.effort if request.output_config else None
    if effort is not None and effort not in _EFFORTS:
        raise bad_request(f"output_config.effort: must be one of {', '.join(_EFFORTS)}")
    return effort


def _format(request: MessagesRequest) -> dict[str, Any] | None:
    wish: Format | None = (request.output_config and request.output_config.format) or request.output_format
    if wish is None:
        return None
    schema = bytes(wish.schema)
    if wish.type != "json_schema" or not schema.startswith(b"{"):
        raise bad_request("output_config.format: must be of type json_schema with a schema that is an object")
    return {"type": "json_schema", "json_schema": {"name": "format", "schema": msgspec.Raw(schema), "strict": True}}


def _sampling(request: MessagesRequest, record: Record) -> dict[str, Any]:
    """The sampling parameters. What is left out is the model's own to decide."""
    if request.max_tokens < 1:
        raise bad_request("max_tokens: must be at least 1")
    # a client may know Anthropic's limits only; the engine refuses more than its context
    found: dict[str, Any] = {"max_tokens": min(request.max_tokens, record.context_length or _LARGEST)}
    if request.temperature is not None:
        found["temperature"] = _within("temperature", request.temperature, _HOTTEST)
    if request.top_p is not None:
        found["top_p"] = max(_SMALLEST_SHARE, _within("top_p", request.top_p, 1.0))
    if request.top_k is not None:
        found["top_k"] = max(0, min(request.top_k, _LARGEST))
    if stops := [stop for stop in request.stop_sequences or () if stop]:
        found["stop"] = stops
    return found


def _within(name: str, value: float, most: float) -> float:
    if not 0 <= value <= most:
        raise bad_request(f"{name}: must be from 0 to {most:g}")
    return value
