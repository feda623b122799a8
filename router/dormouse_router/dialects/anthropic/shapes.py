"""The objects of an answer: Anthropic's blocks and messages, their order of keys, and how a stream's events become
bytes.

An event is written around the one string it carries: nothing else is built for a token.
"""

import base64
import uuid
from typing import Any

import msgspec

from dormouse_router.dialects.chunks import Usage

_encode = msgspec.json.Encoder().encode
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_STARTS: dict[str, dict[str, Any]] = {
    "text": {"type": "text", "text": ""},
    "thinking": {"type": "thinking", "thinking": "", "signature": ""},
}
_DELTAS = {
    "text": ("text_delta", "text"),
    "thinking": ("thinking_delta", "thinking"),
    "signature": ("signature_delta", "signature"),
    "tool_use": ("input_json_delta", "partial_json"),
}


def message_id() -> str:
    return f"msg_{uuid.uuid4().hex[:24]}"


def tool_id() -> str:
    return f"toolu_{uuid.uuid4().hex[:24]}"


def signature(ident: str) -> str:
    """What clients hand back with a thinking block: they keep a block only if it is signed. It says whose it is."""
    return base64.b64encode(f"dormouse:{ident}".encode()).decode()


def usage(tokens: Usage) -> dict[str, int]:
    """Anthropic counts what the cache gave apart from the rest of the prompt."""
    details = tokens.prompt_tokens_details
    cached = details.cached_tokens if details is not None else None
    counts = {"input_tokens": max(0, tokens.prompt_tokens - (cached or 0))}
    if cached is not None:
        counts["cache_read_input_tokens"] = cached
    return {**counts, "output_tokens": tokens.completion_tokens or 0}


def message(ident: str, model: str, tokens: Usage) -> dict[str, Any]:
    """A message in which nothing has been said yet."""
    return {
        "id": ident,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage(tokens),
    }


def event(kind: str, **fields: Any) -> bytes:
    """Any event: for those that come once."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **fields}))


def start(kind: str, index: int, tool: dict[str, Any] | None = None) -> bytes:
    """A block begins; `tool`: id and name of a call."""
    block = _STARTS.get(kind) or {"type": "tool_use", **(tool or {}), "input": {}}
    return event("content_block_start", index=index, content_block=block)


class Deltas:
    """The pieces of one block: `delta(text)` gives the event."""

    __slots__ = ("_head",)

    def __init__(self, kind: str, index: int) -> None:
        name, field = _DELTAS[kind]
        text = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{name}","{field}":'
        self._head = b"event: content_block_delta\ndata: " + text.encode()

    def __call__(self, text: str) -> bytes:
        return b"%b%b}}\n\n" % (self._head, _encode(text))


def stop(index: int) -> bytes:
    """A block ends."""
    return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % index


def end(reason: str, sequence: str | None, tokens: Usage) -> bytes:
    """Why the message ended, what it took, and that it ended."""
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return event("message_delta", delta=delta, usage=usage(tokens)) + STOP


def whole(fields: dict[str, Any]) -> bytes:
    return _encode(fields)
