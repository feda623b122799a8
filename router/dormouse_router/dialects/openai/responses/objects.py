"""The objects of an answer: the response with all its keys, its items, and what it took. Pure."""

import uuid
from typing import Any

from msgspec import Raw

from dormouse_router.catalog.record import Record
from dormouse_router.dialects import chunks
from dormouse_router.dialects.openai.responses import tools
from dormouse_router.dialects.openai.responses.requests import Choice, CreateRequest, Format

Object = dict[str, Any]
UNFINISHED = ("queued", "in_progress")


def response_id() -> str:
    return f"resp_{uuid.uuid4().hex}"


def draft(request: CreateRequest, record: Record, ident: str, created: float) -> Object:
    """The response before anything has been said: every key is there."""
    wish, defaults = request.reasoning, record.defaults
    return {
        "id": ident,
        "object": "response",
        "created_at": int(created),
        "status": "in_progress",
        "background": bool(request.background),
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "metadata": request.metadata or {},
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": {"effort": wish and wish.effort, "summary": wish and wish.summary},
        "safety_identifier": request.safety_identifier,
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": _first(request.temperature, defaults.temperature, 1.0),
        "text": _text(request),
        "tool_choice": _choice(request),
        "tools": [tools.repeated(tool) for tool in tools.offered(request.tools)],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": _first(request.top_p, defaults.top_p, 1.0),
        "presence_penalty": _first(request.presence_penalty, defaults.presence_penalty, 0.0),
        "frequency_penalty": _first(request.frequency_penalty, defaults.frequency_penalty, 0.0),
        "truncation": request.truncation or "disabled",
        "usage": None,
        "user": request.user,
    }


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _text(request: CreateRequest) -> Object:
    given = request.text
    verbosity = (given and given.verbosity) or "medium"
    return {"format": _format(given.format if given is not None else None), "verbosity": verbosity}


def _format(wish: Format | None) -> Object:
    if wish is None or wish.type != "json_schema":
        return {"type": "text" if wish is None else wish.type}
    more: Object = {"name": wish.name, "description": wish.description, "schema": Raw(wish.schema)}
    return {"type": "json_schema", **more, "strict": wish.strict}


def _choice(request: CreateRequest) -> Any:
    wish = request.tool_choice
    if not isinstance(wish, Choice):
        return wish or "auto"
    if wish.type == "function":
        return {"type": "function", "name": wish.name}
    allowed = [{"type": "function", "name": tool.name} for tool in wish.tools or ()]
    return {"type": wish.type, "mode": wish.mode, "tools": allowed}


def finished(base: Object, output: list[Object], used: chunks.Usage, finish: str | None, now: float) -> Object:
    """The response whose engine ended with `finish`."""
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish or "")
    ended: Object = {"status": "completed", "completed_at": int(now)}
    if why is not None:
        ended = {"status": "incomplete", "incomplete_details": {"reason": why}}
    return base | ended | {"output": output, "usage": usage(used)}


def failed(base: Object, output: list[Object], message: str, code: str = "server_error") -> Object:
    """The response that broke off."""
    error = {"code": code, "message": message}
    return base | {"status": "failed", "error": error, "output": output}


def error_code(status: int) -> str:
    """The word, out of the few that clients know, for an error with HTTP's status."""
    return "rate_limit_exceeded" if status == 429 else "server_error" if status >= 500 else "invalid_prompt"


def cancelled(base: Object) -> Object:
    return base | {"status": "cancelled"}


def usage(used: chunks.Usage) -> Object:
    prompt, completion = used.prompt_tokens, used.completion_tokens or 0
    told, done = used.prompt_tokens_details, used.completion_tokens_details
    cached = told.cached_tokens if told is not None else None
    thought = done.reasoning_tokens if done is not None else None
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached or 0, "cache_write_tokens": 0},
        "output_tokens": completion,
        "output_tokens_details": {"reasoning_tokens": thought or 0},
        "total_tokens": prompt + completion,
    }


def message(ident: str, text: str, logprobs: list[Object], status: str) -> Object:
    content = [output_text(text, logprobs)]
    return {"id": ident, "type": "message", "role": "assistant", "status": status, "content": content}


def output_text(text: str, logprobs: list[Object]) -> Object:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def reasoning(ident: str, text: str, status: str) -> Object:
    content = [{"type": "reasoning_text", "text": text}]
    return {"id": ident, "type": "reasoning", "summary": [], "content": content, "status": status}


def call(ident: str, call_id: str, name: str, arguments: str, status: str) -> Object:
    more = {"call_id": call_id, "name": name, "arguments": arguments, "status": status}
    return {"id": ident, "type": "function_call", **more}


def call_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def logprobs_of(told: dict[str, Any] | None) -> list[Object]:
    """An engine's log probabilities, with everything that clients insist on."""
    return [
        _token(entry) | {"top_logprobs": [_token(other) for other in entry.get("top_logprobs") or ()]}
        for entry in (told or {}).get("content") or ()
    ]


def _token(entry: Object) -> Object:
    token = entry["token"]
    return {"token": token, "logprob": entry["logprob"], "bytes": entry.get("bytes") or list(token.encode())}
