"""The items of an answer as they are told: one after another, each begun, told in pieces, and ended. Pure."""

from typing import Any

from dormouse_router.dialects.chunks import ToolDelta
from dormouse_router.dialects.openai.responses import objects
from dormouse_router.dialects.openai.responses.events import Deltas, Events
from dormouse_router.dialects.openai.responses.items import Ids
from dormouse_router.dialects.openai.responses.objects import Object

TEXT, THOUGHT, CALL = "message", "reasoning", "function_call"
_DELTAS = {
    TEXT: "response.output_text.delta",
    THOUGHT: "response.reasoning_text.delta",
    CALL: "response.function_call_arguments.delta",
}


class Output:
    """Each method gives the events for what was said; the open item ends where something else begins."""

    def __init__(self, events: Events, ids: Ids) -> None:
        self.items: list[Object] = []
        """Those that have ended."""
        self.trouble = ""
        """Why nothing that the engine says can be told any more."""
        self._events, self._ids = events, ids
        self._kind: str | None = None
        self._item: Object = {}
        """The open one, as it began."""
        self._pieces: list[str] = []
        self._logprobs: list[Object] = []
        self._tell = Deltas(events, _DELTAS[TEXT], {})
        self._blank = ""
        """White space that belongs to the next text, if one comes: a message of nothing else is not worth beginning."""
        self._call: int | None = None
        """The engine's number of the call that is being told."""
        self._known: set[int] = set()
        self._name = self._call_id = self._early = ""
        """Of a call whose item has not begun, for the engine has not named it yet."""

    def text(self, text: str, logprobs: list[Object] | None = None) -> bytes:
        if logprobs:
            self._logprobs += logprobs
        if self._kind != TEXT:
            text = self._blank + text
            if text.isspace():
                self._blank = text
                return b""
            self._blank = ""
            begun = self.close() + self._begin(TEXT)
            return begun + self._say(text, logprobs)
        return self._say(text, logprobs)

    def thought(self, text: str) -> bytes:
        begun = b"" if self._kind == THOUGHT else self.close() + self._begin(THOUGHT)
        self._pieces.append(text)
        return begun + self._tell(text)

    def call(self, delta: ToolDelta) -> bytes:
        """A piece of a call."""
        out = b""
        if delta.index != self._call:
            out = self.close()
            if delta.index in self._known:
                self.trouble = "the engine mixed up its tool calls: send the request again"
                return out
            self._known.add(delta.index)
            self._call = delta.index
        self._call_id = self._call_id or delta.id or ""
        function = delta.function
        if function is None:
            return out
        text = function.arguments or ""
        if self._kind is None:
            self._name = self._name or function.name or ""
            self._early += text
            if not self._name:
                return out
            out += self._begin(CALL)
            text = self._early
        if text:
            self._pieces.append(text)
            out += self._tell(text)
        return out

    def close(self, status: str = "completed") -> bytes:
        """The open item ends, if one is open."""
        kind, self._call, nameless = self._kind, None, self._early if self._kind is None else ""
        self._name = self._call_id = self._early = ""
        if nameless:
            self.trouble = "the engine called a tool without naming it: send the request again"
        if kind is None:
            return b""
        out = self._tell_arguments("{}") if kind == CALL and not "".join(self._pieces).strip() else b""
        self._kind = None
        text, self._pieces = "".join(self._pieces), []
        place = {"item_id": self._item["id"], "output_index": len(self.items)}
        if kind == CALL:
            done = self._item | {"arguments": text or "{}", "status": status}
            told = {"name": done["name"], "arguments": done["arguments"]}
            out += self._events("response.function_call_arguments.done", **place, **told)
        else:
            done, ends = self._ended(kind, text, status, place | {"content_index": 0})
            out += ends
        self.items.append(done)
        return out + self._events("response.output_item.done", output_index=place["output_index"], item=done)

    def end(self, status: str = "completed") -> bytes:
        """Nothing more comes: `status` is the last item's. An answer of nothing is a message of nothing."""
        last = self.close(status)
        if not self.items and not self.trouble:
            last += self._begin(TEXT)
            last += self._say(self._blank, None) if self._blank else b""
            last += self.close(status)
        return last

    def abandon(self) -> bytes:
        """What is open breaks off; what was no item yet is left out."""
        self._early = ""
        return self.close("incomplete")

    def _say(self, text: str, logprobs: list[Object] | None) -> bytes:
        self._pieces.append(text)
        if not logprobs:
            return self._tell(text)
        place = {"item_id": self._item["id"], "output_index": len(self.items), "content_index": 0}
        return self._events(_DELTAS[TEXT], **place, delta=text, logprobs=logprobs)

    def _tell_arguments(self, text: str) -> bytes:
        self._pieces = [text]
        return self._tell(text)

    def _begin(self, kind: str) -> bytes:
        """An item begins where none is open."""
        ident, index, events = self._ids.next(kind), len(self.items), self._events
        self._kind = kind
        place: Object = {"item_id": ident, "output_index": index}
        self._item = self._empty(kind, ident)
        out = events("response.output_item.added", output_index=index, item=self._item)
        if kind != CALL:
            place["content_index"] = 0
            out += events("response.content_part.added", **place, part=_part(kind, "", []))
        self._tell = Deltas(events, _DELTAS[kind], place)
        return out

    def _empty(self, kind: str, ident: str) -> Object:
        if kind == TEXT:
            return objects.message(ident, "", [], "in_progress") | {"content": []}
        if kind == THOUGHT:
            return objects.reasoning(ident, "", "in_progress") | {"content": []}
        told = {item.get("call_id") for item in self.items}
        call_id = self._call_id if self._call_id and self._call_id not in told else objects.call_id()
        return objects.call(ident, call_id, self._name, "", "in_progress")

    def _ended(self, kind: str, text: str, status: str, place: Object) -> tuple[Object, bytes]:
        events, ident = self._events, self._item["id"]
        more: dict[str, Any] = {}
        if kind == TEXT:
            logprobs, self._logprobs = self._logprobs, []
            done, more = objects.message(ident, text, logprobs, status), {"logprobs": logprobs}
            out = events("response.output_text.done", **place, text=text, **more)
        else:
            done = objects.reasoning(ident, text, status)
            out = events("response.reasoning_text.done", **place, text=text)
        part = _part(kind, text, more.get("logprobs", []))
        return done, out + events("response.content_part.done", **place, part=part)


def _part(kind: str, text: str, logprobs: list[Object]) -> Object:
    return objects.output_text(text, logprobs) if kind == TEXT else {"type": "reasoning_text", "text": text}
