"""Tool calls of the hermes form, `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, in growing text. Pure."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass

from dormouse_runtime.engines.openai.text import overlap

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass(frozen=True)
class ToolCall:
    """One call; `arguments` is JSON text, as OpenAI sends it."""

    id: str
    name: str
    arguments: str

    def wire(self) -> dict[str, object]:
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


class ToolParser:
    """Splits growing text into words for the user and finished tool calls."""

    def __init__(self) -> None:
        self._held = ""
        self.calls: list[ToolCall] = []

    def feed(self, text: str) -> tuple[str, list[ToolCall]]:
        """(text outside calls, calls finished by this piece)."""
        self._held += text
        words, found = "", []
        while (begin := self._held.find(OPEN)) >= 0 and (end := self._held.find(CLOSE, begin)) >= 0:
            words += self._held[:begin]
            inner = self._held[begin + len(OPEN) : end]
            self._held = self._held[end + len(CLOSE) :]
            if call := parse(inner):
                found.append(call)
            else:
                words += f"{OPEN}{inner}{CLOSE}"
        begin = self._held.find(OPEN)
        certain = begin if begin >= 0 else len(self._held) - overlap(self._held, OPEN)
        words, self._held = words + self._held[:certain], self._held[certain:]
        self.calls += found
        # White space around a call is the template's, not the model's answer.
        return (words.strip() if found else words) if words.strip() or not self.calls else "", found

    def close(self) -> str:
        """What was held back: a call that never ended is text."""
        words, self._held = self._held, ""
        return words


def parse(inner: str) -> ToolCall | None:
    """The call in the text between the marks; None where it is not one."""
    try:
        call = json.loads(inner)
        name, arguments = call["name"], call.get("arguments", {})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", str(name), text)
