"""Answers for clients that know `functions`, which OpenAI had before there were tools: one call, without an id. Pure.

Only for requests that say so; these answers are decoded, event by event.
"""

from typing import Any

import msgspec

_PREFIX = b"data: "


def event(event: bytes) -> bytes:
    """One event of a stream; the same where it holds no call and no end of one."""
    if b'"tool_calls"' not in event or not event.startswith(_PREFIX):
        return event
    chunk: dict[str, Any] = msgspec.json.decode(event[len(_PREFIX) :])
    for choice in chunk["choices"]:
        _called(choice, choice["delta"])
    return _PREFIX + msgspec.json.encode(chunk) + b"\n\n"


def whole(body: bytes) -> bytes:
    """An answer that is not streamed."""
    answer: dict[str, Any] = msgspec.json.decode(body)
    for choice in answer.get("choices", ()):
        _called(choice, choice["message"])
    return msgspec.json.encode(answer)


def _called(choice: dict[str, Any], said: dict[str, Any]) -> None:
    """The first call among those of tools; there was no way to say that there are more."""
    calls = said.pop("tool_calls", None)
    first = next((call for call in calls or () if call.get("index", 0) == 0), None)
    if first is not None:
        said["function_call"] = first["function"]
    if choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "function_call"
