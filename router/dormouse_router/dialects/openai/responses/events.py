"""How a stream's events become bytes, each with its number.

The many are written around the one string they carry: nothing else is built for a token.
"""

from typing import Any

import msgspec

from dormouse_router.dialects.openai.responses.objects import Object

_encode = msgspec.json.Encoder().encode
LAST = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.failed",
}
"""A response's last event, by its status. There is none for one that was cancelled."""


class Events:
    """The events of one stream, numbered from 0."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, kind: str, **fields: Any) -> bytes:
        """Any event: for those that come once."""
        number = self.number
        self.number = number + 1
        data = _encode({"type": kind, **fields, "sequence_number": number})
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def begin(self, base: Object) -> bytes:
        """The response begins."""
        return self("response.created", response=base) + self("response.in_progress", response=base)

    def end(self, response: Object) -> bytes:
        """The response, as it became. One that failed is told of in a word first, for those who read no responses."""
        out = b""
        if response["status"] == "failed":
            error = response["error"]
            out = self("error", code=error["code"], message=error["message"], param=None)
        return out + self(LAST[response["status"]], response=response)


class Deltas:
    """The pieces of one item: `delta(text)` gives the event."""

    __slots__ = ("_events", "_head", "_tail")

    def __init__(self, events: Events, kind: str, place: Object) -> None:
        """`place`: item_id, output_index and the like."""
        self._events = events
        fields = _encode({"type": kind, **place})[:-1]
        self._head = b'event: %b\ndata: %b,"delta":' % (kind.encode(), fields)
        logprobs = b'"logprobs":[],' if kind == "response.output_text.delta" else b""
        self._tail = b',%b"sequence_number":' % logprobs

    def __call__(self, text: str) -> bytes:
        events = self._events
        number = events.number
        events.number = number + 1
        return b"%b%b%b%d}\n\n" % (self._head, _encode(text), self._tail, number)
