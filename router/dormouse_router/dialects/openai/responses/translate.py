"""A request for a response as the engine's chat request: checked first, so that bad input never wakes a model.

Pure: from the decoded request, the items of the conversation and what the catalogue knows of the model to the body the
engine gets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane.peek import SESSION_CHARS
from dormouse_router.dialects import chunks
from dormouse_router.dialects.openai.responses import tools
from dormouse_router.dialects.openai.responses.conversation import has_images, to_chat, without_oldest
from dormouse_router.dialects.openai.responses.items import Kept
from dormouse_router.dialects.openai.responses.requests import (
    Asked,
    CountRequest,
    CreateRequest,
    Format,
    bad_value,
    missing,
)

_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_LARGEST = 2**31 - 1
_SMALLEST_SHARE = 1e-6
"""For a `top_p` of 0, which engines refuse: one token all the same."""


@dataclass(frozen=True)
class Plan:
    """What to send, and how the answer comes."""

    body: dict[str, Any]
    tagged: bool = False
    """The model may write its reasoning into its text, between tags."""
    session: bytes = b""
    """`Call.session`, where the client says whose call it is."""
    logprobs: bool = False
    truncates: bool = False
    """Turns may be left out where the conversation is longer than the context."""

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    @property
    def payload(self) -> bytes:
        """`body` as it is sent."""
        return msgspec.json.encode(self.body)

    def with_room(self, tokens: int | None) -> "Plan | None":
        """A plan that asks for no more than `tokens`; None where that is not fewer."""
        if tokens is None or not 0 < tokens < self.body.get("max_tokens", 0):
            return None
        return replace(self, body={**self.body, "max_tokens": tokens})

    def shortened(self, share: float) -> "Plan | None":
        """A plan whose conversation is about `share` of this one's; None where nothing may be left out."""
        left = without_oldest(self.body["messages"], share) if self.truncates else None
        return None if left is None else replace(self, body={**self.body, "messages": left})


def response_plan(request: CreateRequest, items: Iterable[Kept], record: Record, *, stream: bool) -> Plan:
    """The plan of POST /v1/responses. `items`: the whole conversation."""
    body = _conversation(request, items, record) | _sampling(request, record)
    body["stream"] = stream
    if stream:
        body["stream_options"] = chunks.USAGE
    if request.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    if wanted := _format(request):
        body["response_format"] = wanted
    if request.user:
        body["user"] = request.user
    return Plan(
        body=body,
        tagged="thinking" in (record.status.capabilities or ()),
        session=(request.prompt_cache_key or "")[:SESSION_CHARS].encode(),
        logprobs=request.logprobs is not None,
        truncates=request.truncation == "auto",
    )


def count_plan(request: CountRequest, items: Iterable[Kept], record: Record) -> Plan:
    """The plan of POST /v1/responses/input_tokens: the same conversation for the engine's tokenizer."""
    body = _conversation(request, items, record)
    return Plan({name: body[name] for name in ("model", "messages", "tools", "chat_template_kwargs") if name in body})


def _conversation(request: Asked, items: Iterable[Kept], record: Record) -> dict[str, Any]:
    said = list(items)
    if not said:
        raise missing("input")
    talk = to_chat(request.instructions, said)
    if not talk:
        raise bad_value("input", "nothing is said in it: send a message with content")
    known = record.status.capabilities
    if known and "completion" not in known and "embedding" in known:
        raise bad_value("model", f"'{request.model}' only embeds: use POST /v1/embeddings")
    if has_images(talk) and not _can(record, "vision"):
        raise bad_value("model", f"'{request.model}' does not take images: send text, or use another model")
    functions, wish = tools.choice(request.tool_choice, tools.offered(request.tools))
    body: dict[str, Any] = {"model": record.called, "messages": talk}
    if functions:
        body["tools"] = tools.to_chat(functions)
        if wish is not None:
            body["tool_choice"] = wish
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    return body | _effort(request, record)


def _can(record: Record, capability: str) -> bool:
    """Whether the model may be capable: nothing is known of one that was not inspected yet."""
    known = record.status.capabilities
    return known is None or capability in known


def _effort(request: Asked, record: Record) -> dict[str, Any]:
    effort = request.reasoning.effort if request.reasoning is not None else None
    if effort is not None and effort not in _EFFORTS:
        raise bad_value("reasoning.effort", f"send one of {', '.join(_EFFORTS)}")
    if effort is None or not _can(record, "thinking"):
        return {}
    return {"reasoning_effort": effort, "chat_template_kwargs": {"enable_thinking": effort != "none"}}


def _format(request: Asked) -> dict[str, Any] | None:
    wish: Format | None = request.text.format if request.text is not None else None
    if wish is None or wish.type == "text":
        return None
    if wish.type == "json_object":
        return {"type": "json_object"}
    if wish.type != "json_schema":
        raise bad_value("text.format.type", "send text, json_object or json_schema")
    if not wish.name:
        raise missing("text.format.name")
    if not bytes(wish.schema).startswith(b"{"):
        raise bad_value("text.format.schema", "send a JSON schema, an object")
    more = {"description": wish.description, "strict": wish.strict}
    schema = {"name": wish.name, "schema": wish.schema, **{k: v for k, v in more.items() if v is not None}}
    return {"type": "json_schema", "json_schema": schema}


def _sampling(request: CreateRequest, record: Record) -> dict[str, Any]:
    """The sampling parameters. What is left out is the model's own, or the route's, to decide."""
    found: dict[str, Any] = {}
    if request.max_output_tokens is not None:
        # a bound, not a wish: the engine would refuse more than its context
        found["max_tokens"] = min(request.max_output_tokens, record.context_length or _LARGEST)
    if request.top_p is not None:
        found["top_p"] = max(_SMALLEST_SHARE, request.top_p)
    for name in ("temperature", "presence_penalty", "frequency_penalty"):
        value = getattr(request, name)
        if value is not None:
            found[name] = value
    return found
