"""Items, as they are kept, as the messages of a chat. Pure.

Reasoning, text and calls that follow each other are one turn of the assistant; instructions and whatever the system or
the developer says come first, and what a user says in a row is one turn: many chat templates take no other order.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from dormouse_router.dialects.openai.responses.items import Kept

Message = dict[str, Any]
_SYSTEM = ("system", "developer")


def to_chat(instructions: str | None, items: Iterable[Kept]) -> list[Message]:
    """The messages for the engine."""
    talk = _Talk([instructions] if instructions else [])
    for item in items:
        match item["type"]:
            case "message" if item["role"] in _SYSTEM:
                talk.system += [part["text"] for part in item["content"] if part["type"] == "input_text"]
            case "message" if item["role"] == "user":
                talk.user(item["content"])
            case "message":
                talk.said(item["content"])
            case "reasoning":
                talk.thought(item)
            case "function_call":
                talk.call(item)
            case "function_call_output":
                talk.result(item)
    return talk.messages


class _Talk:
    def __init__(self, system: list[str]) -> None:
        self.system = system
        self._turns: list[Message] = []
        self._shown: list[Kept] = []
        """Images that tools gave: the user's next turn begins with them, for a tool's message holds text only."""

    @property
    def messages(self) -> list[Message]:
        self._show()
        system: list[Message] = [{"role": "system", "content": "\n\n".join(self.system)}] if self.system else []
        return system + [_finished(turn) for turn in self._turns]

    def user(self, parts: list[Kept]) -> None:
        if not self._shown and self._turns and self._turns[-1]["role"] == "user":
            self._turns[-1]["content"] += parts
            return
        shown, self._shown = self._shown, []
        self._turns.append({"role": "user", "content": [*shown, *parts]})

    def said(self, parts: list[Kept]) -> None:
        text = "".join(part.get("text") or part.get("refusal") or "" for part in parts)
        turn = self._assistant()
        if turn["content"] or "tool_calls" in turn:
            turn = self._assistant(new=True)
        turn["content"] = text

    def thought(self, item: Kept) -> None:
        text = "\n".join(part["text"] for part in item["content"] or item["summary"])
        turn = self._assistant()
        if turn["content"] or "tool_calls" in turn:
            turn = self._assistant(new=True)
        if text:
            turn["reasoning"] = f"{turn['reasoning']}\n{text}" if "reasoning" in turn else text

    def call(self, item: Kept) -> None:
        if item["status"] != "completed":
            return  # cut short: templates read the arguments, and nobody has run it
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"id": item["call_id"], "type": "function", "function": function}
        self._assistant().setdefault("tool_calls", []).append(call)

    def result(self, item: Kept) -> None:
        output = item["output"]
        parts = [{"type": "input_text", "text": output}] if isinstance(output, str) else output
        text = "\n".join(part["text"] for part in parts if part["type"] == "input_text")
        self._turns.append({"role": "tool", "tool_call_id": item["call_id"], "content": text})
        self._shown += [part for part in parts if part["type"] != "input_text"]

    def _assistant(self, *, new: bool = False) -> Message:
        self._show()
        if new or not self._turns or self._turns[-1]["role"] != "assistant":
            self._turns.append({"role": "assistant", "content": ""})
        return self._turns[-1]

    def _show(self) -> None:
        if self._shown:
            self.user([])


def _finished(turn: Message) -> Message:
    return turn if turn["role"] != "user" else turn | {"content": _content(turn["content"])}


def _content(parts: list[Kept]) -> str | list[dict[str, Any]]:
    """A string where there is nothing but text: not every template takes parts."""
    if all(part["type"] == "input_text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return [_part(part) for part in parts]


def _part(part: Kept) -> dict[str, Any]:
    if part["type"] == "input_text":
        return {"type": "text", "text": part["text"]}
    return {"type": "image_url", "image_url": {"url": part["image_url"], "detail": part["detail"]}}


def without_oldest(messages: list[Message], share: float) -> list[Message] | None:
    """`messages` without their oldest exchanges, so that at most `share` of what is said is left; None where only one
    is there. What the system says stays, and so does the last exchange, however long."""
    first = 1 if messages[0]["role"] == "system" else 0
    turns = messages[first:]
    sizes = [len(msgspec.json.encode(turn)) for turn in turns]
    begins = [at for at, turn in enumerate(turns) if at > 0 and turn["role"] == "user"]
    if not begins:
        return None
    most = share * sum(sizes)
    chosen = next((at for at in begins if sum(sizes[at:]) <= most), begins[-1])
    return messages[:first] + turns[chosen:]


def has_images(messages: Iterable[Message]) -> bool:
    """Whether any message shows an image."""
    return any(
        part["type"] == "image_url"
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )
