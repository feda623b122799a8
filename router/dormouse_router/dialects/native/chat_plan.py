"""A chat as the engine's request: checked first, so that bad input wakes nothing; with the session's history. Pure."""

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects import chunks
from dormouse_router.dialects.native.answers import bad_request
from dormouse_router.dialects.native.chat_requests import ChatRequest, in_range
from dormouse_router.dialects.ollama.durations import keep_alive
from dormouse_router.dialects.ollama.messages import has_images, to_openai
from dormouse_router.dialects.ollama.requests import Message as Turn
from dormouse_router.dialects.openai.abilities import Ability, check
from dormouse_router.keeping import Message

TIMEOUT = 120.0
MAX_HISTORY = 20
MOST_KEPT = 1024 * 1024
"""Bytes of one turn that a session keeps."""
_SENT = ("min_p", "top_k", "repetition_penalty", "presence_penalty", "frequency_penalty", "max_tokens", "seed", "stop")
_SMALLEST_TOP_P = 1e-6
"""The engine refuses 0, by which clients mean the likeliest token."""


@dataclass(frozen=True)
class Plan:
    """What to send, and how the client wants the answer."""

    parameters: dict[str, Any]
    """The engine's request but for its messages."""
    turns: tuple[Turn, ...]
    """What the client says now."""
    stream: bool
    timeout: float
    keep_alive: float | None
    session: str | None
    keep: int
    tagged: bool
    """The model may write its reasoning into its text, between tags."""
    history: tuple[Message, ...] = ()
    """What was said before in the session, as the engine is told it."""

    @property
    def said(self) -> list[Message]:
        """What the client says now, as it is sent and kept; results find their calls in the history, too."""
        before = msgspec.convert(self.history, list[Turn])
        return to_openai([*before, *self.turns])[len(before) :]

    @property
    def payload(self) -> bytes:
        """The engine's request. A system message of now stands in the place of the one before."""
        said = self.said
        system = [message for message in said if message["role"] == "system"]
        if not system:
            return msgspec.json.encode({**self.parameters, "messages": [*self.history, *said]})
        before = [message for message in self.history if message["role"] != "system"]
        after = [message for message in said if message["role"] != "system"]
        return msgspec.json.encode({**self.parameters, "messages": [*system, *before, *after]})


def chat_plan(wish: ChatRequest, record: Record, name: str) -> Plan:
    """The plan of a chat with `record`, which the client calls `name`. Refusal 400 with the field."""
    check(record, Ability.GENERATE, name)
    turns = list(wish.messages or [Turn("user", wish.prompt or wish.message)])
    if wish.system:
        turns.insert(0, Turn("system", wish.system))
    if has_images(turns):
        _need(record, name, "vision", "messages")
    if wish.max_tokens is not None and record.context_length:
        in_range("max_tokens", wish.max_tokens, record.context_length)
    plan = Plan(
        parameters=_parameters(wish, record, name),
        turns=tuple(turns),
        stream=bool(wish.stream),
        timeout=wish.timeout or TIMEOUT,
        keep_alive=keep_alive(wish.keep_alive),
        session=wish.session_id,
        keep=wish.max_history or MAX_HISTORY,
        tagged="thinking" in (record.status.capabilities or ()),
    )
    if plan.session is not None and len(msgspec.json.encode(plan.said)) > MOST_KEPT:
        raise bad_request(f"a turn of a session may have {MOST_KEPT} bytes: leave session_id out", "messages")
    return plan


def with_history(plan: Plan, history: list[Message]) -> Plan:
    """The plan with the last of what was said before."""
    return replace(plan, history=_from_a_question(history, plan.keep))


def shorter(plan: Plan) -> Plan | None:
    """The plan with the newer half of the history, for a model with a short context; None where there is none."""
    said = sum(message["role"] != "system" for message in plan.history)
    return replace(plan, history=_from_a_question(list(plan.history), said // 2)) if said else None


def _from_a_question(history: list[Message], most: int) -> tuple[Message, ...]:
    """At most so many of the messages; the system message stays, and what follows it begins with a user's.

    So no tool's result stands without its call, and no answer without its question.
    """
    system = [message for message in history if message["role"] == "system"]
    said = [message for message in history if message["role"] != "system"]
    said = said[len(said) - min(most, len(said)) :]
    start = next((index for index, message in enumerate(said) if message["role"] == "user"), len(said))
    return (*system, *said[start:])


def _parameters(wish: ChatRequest, record: Record, name: str) -> dict[str, Any]:
    """Only what the client set: a route's defaults and the model's own hold for the rest."""
    body: dict[str, Any] = {"model": record.called, "stream": True, "stream_options": chunks.USAGE}
    body |= {field: value for field in _SENT if (value := getattr(wish, field)) is not None}
    if wish.temperature is not None:
        body["temperature"] = wish.temperature
    if wish.top_p is not None:
        body["top_p"] = max(wish.top_p, _SMALLEST_TOP_P)
    if wish.think is not None:
        body["chat_template_kwargs"] = {"enable_thinking": wish.think}
    if wish.response_format is not None:
        body["response_format"] = wish.response_format
    if wish.tools:
        _need(record, name, "tools", "tools")
        body["tools"] = [_tool(tool, place) for place, tool in enumerate(wish.tools)]
        if wish.tool_choice is not None:
            body["tool_choice"] = wish.tool_choice
    return body


def _need(record: Record, name: str, capability: str, field: str) -> None:
    known = record.status.capabilities
    if known is not None and capability not in known:
        raise bad_request(f"the model '{name}' does not support {capability}: GET /models says what each can", field)


def _tool(tool: dict[str, Any], place: int) -> dict[str, Any]:
    """OpenAI's form, or a function alone."""
    function = tool.get("function", tool if "name" in tool else None)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        form = '{"type": "function", "function": {"name": "...", "parameters": {...}}}'
        raise bad_request(f"tools.{place} must be {form}", "tools")
    parameters = function.get("parameters") or {"type": "object", "properties": {}}
    return {"type": "function", "function": {**function, "parameters": parameters}}
