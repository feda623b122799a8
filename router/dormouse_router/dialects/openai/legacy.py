"""Answers for clients that know `functions`, which OpenAI had before there were tools: one call, without an id. Pure.

Only for requests that say so; these answers are decoded, event by event.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

_PREFIX = b"data: "


def event(event: bytes) -> bytes:
    """One event of a stream; the same where it holds no call and no end of one."""
    if b'"tool_calls"' not in event or not event.startswith(_PREFIX):
        return event
    chunk: dict[str, Any] = msgspec.json.decode(event[len(_PREFIX) :])
    for choice in chunk["choices"]:
        _called(choice, choice["delta"], _joined(choice["delta"].pop("tool_calls", None) or ()))
    return _PREFIX + msgspec.json.encode(chunk) + b"\n\n"


def whole(body: bytes) -> bytes:
    """An answer that is not streamed."""
    answer: dict[str, Any] = msgspec.json.decode(body)
    for choice in answer.get("choices", ()):
        calls = choice["message"].pop("tool_calls", None)
        _called(choice, choice["message"], calls[0]["function"] if calls else None)
    return msgspec.json.encode(answer)


def _joined(calls: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What an event says of the first call: engines that are ahead of their reader say it in several parts."""
    joined: dict[str, Any] | None = None
    for part in (call["function"] for call in calls if call.get("index", 0) == 0):
        if joined is None:
            joined = part
        else:
            joined |= {field: (joined.get(field) or "") + (text or "") for field, text in part.items()}
    return joined


def _called(choice: dict[str, Any], said: dict[str, Any], function: dict[str, Any] | None) -> None:
    """The first call among those of tools; there was no way to say that there are more."""
    if function is not None:
        said["function_call"] = function
    if choice.get("finish_reason") == "tool_calls":
        choice["finish_reason"] = "function_call"
