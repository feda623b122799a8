"""Tool calls as Ollama sends them: whole, with an object of arguments, put together from the engine's deltas."""

import hashlib
from typing import Any

import msgspec

from dormouse_router.dialects.chunks import ToolDelta

ToolCall = dict[str, Any]


def call_id(engine_id: str) -> str:
    """The engine's id in Ollama's form: `call_` and eight characters."""
    digest = hashlib.sha256(engine_id.encode()).hexdigest()
    return f"call_{digest[:8]}"


class Calls:
    """Collects deltas. A call is complete when the next one begins or the answer ends."""

    def __init__(self, seed: str) -> None:
        """`seed` tells the calls of one answer from another's, where the engine gives no ids."""
        self._seed = seed
        self._position: int | None = None
        self._done = 0
        self._id = ""
        self._name = ""
        self._arguments: list[str] = []

    def feed(self, delta: ToolDelta) -> ToolCall | str | None:
        """What `delta` shows to be complete, as `end` gives it, if anything."""
        finished = None
        if self._position is not None and delta.index != self._position:
            finished = self.end()
        self._position = delta.index
        self._id = self._id or delta.id or ""
        if delta.function is not None:
            self._name += delta.function.name or ""
            self._arguments.append(delta.function.arguments or "")
        return finished

    def end(self) -> ToolCall | str | None:
        """The call collected last, if there is one; as text where its arguments are no JSON object.

        A model that ran out of tokens within a call, or wrote nonsense, still gets its words to the client.
        """
        if self._position is None:
            return None
        name, text = self._name, "".join(self._arguments).strip()
        arguments = _arguments(text)
        ident = call_id(self._id or f"{self._seed}/{self._done}")
        self._position, self._id, self._name = None, "", ""
        self._arguments.clear()
        if arguments is None:
            return f"{name}({text})"
        call = {"id": ident, "function": {"index": self._done, "name": name, "arguments": arguments}}
        self._done += 1
        return call


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        arguments = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return None
    return arguments if isinstance(arguments, dict) else None
