"""The lines of an answer: Ollama's objects, their order of keys, and how they become bytes.

Lines are pure ASCII: some clients decode every network read by itself, so a character of several bytes may not
depend on where the network cuts.
"""

import re
from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode
_WIDE = re.compile(r"[^\x00-\x7f]+")


class Reply(msgspec.Struct, omit_defaults=True):
    """`message` of a chat."""

    role: str
    content: str
    thinking: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatLine(msgspec.Struct, omit_defaults=True):
    model: str
    created_at: str
    message: Reply
    done: bool
    logprobs: list[dict[str, Any]] | None = None


class GenerateLine(msgspec.Struct, omit_defaults=True):
    model: str
    created_at: str
    response: str
    done: bool
    thinking: str | None = None
    logprobs: list[dict[str, Any]] | None = None


class Metrics(msgspec.Struct):
    """Durations in ns, counts in tokens; never zero."""

    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int


def ascii_bytes(data: bytes) -> bytes:
    r"""JSON with every character beyond ASCII as \u escapes."""
    return data if data.isascii() else _WIDE.sub(_escaped, data.decode()).encode()


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def line(obj: ChatLine | GenerateLine | dict[str, Any]) -> bytes:
    """One line of a stream."""
    return ascii_bytes(_encode(obj)) + b"\n"


def last(obj: ChatLine | GenerateLine, reason: str, metrics: Metrics | None, context: list[int] | None) -> bytes:
    """The object that ends an answer, without a newline. `metrics` is None where nothing was evaluated."""
    fields: dict[str, Any] = msgspec.to_builtins(obj)
    fields |= {"done": True, "done_reason": reason}
    if context:
        fields["context"] = context
    if metrics:
        fields |= msgspec.to_builtins(metrics)
    return ascii_bytes(_encode(fields))
