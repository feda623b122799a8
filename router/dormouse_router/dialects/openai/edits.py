"""What a client is told otherwise than its engine says it, changed in the bytes as they pass. Nothing is decoded.

Which changes an answer needs is known at the head of its call; most need none. JSON has no line ends of its own, so
`}` before an empty line always ends an event; a quote in a string is escaped, so a quoted key before a colon is one.
"""

import re

from dormouse_router.dataplane.peek import Peek
from dormouse_router.dataplane.relay import FAILED
from dormouse_router.dialects.openai import errors, legacy
from dormouse_router.dialects.openai.running import EVENTS, hidden

_USAGE, _CALLS = b'"usage":', b'"tool_calls":'
_REASONING = re.compile(rb'"reasoning":\s*("(?:[^"\\]|\\.)*")')
_BOTH = rb'"reasoning":\1,"reasoning_content":\1'
_STOPPED = re.compile(rb'"finish_reason":\s*"stop"')
_CALLED = b'"finish_reason":"tool_calls"'


class Edits:
    """The changes of one answer."""

    __slots__ = ("_called", "_only_hidden", "_reasoning", "_seen", "any")

    def __init__(self, seen: Peek, reasoning: bool) -> None:
        """`seen` of the request: whether each event but the last shall tell that it has no usage, whether a function
        had to be called, so that an answer which did so ends for that reason, and whether its calls are of the old
        kind. `reasoning`: it is told under both of its names."""
        self._seen, self._reasoning = seen, reasoning
        self._called = False
        self._only_hidden = seen.hidden and not (seen.usage or reasoning or seen.forced or seen.legacy)
        self.any = seen.usage or seen.hidden or reasoning or seen.forced or seen.legacy

    def events(self, chunk: bytes) -> bytes:
        """Whole events of a stream."""
        if FAILED in chunk:
            return b"".join(self._one(event) for event in EVENTS.split(chunk) if event)
        if self._only_hidden:
            return hidden(chunk, total=False)
        return self._changed(chunk) if self.any else chunk

    def whole(self, body: bytes) -> bytes:
        """An answer that is not streamed."""
        if self._reasoning:
            body = _with_both(body)
        if self._seen.forced and _CALLS in body:
            body = _STOPPED.sub(_CALLED, body)
        return legacy.whole(body) if self._seen.legacy and _CALLS in body else body

    def _one(self, event: bytes) -> bytes:
        if event.startswith(FAILED):
            return errors.in_band(event)
        return self._changed(event) if self.any else event

    def _changed(self, chunk: bytes) -> bytes:
        if self._seen.hidden:
            chunk = hidden(chunk, total=self._seen.usage)
        if self._reasoning:
            chunk = _with_both(chunk)
        if self._seen.forced:
            self._called = self._called or _CALLS in chunk
            if self._called:
                chunk = _STOPPED.sub(_CALLED, chunk)
        if self._seen.legacy:
            chunk = b"".join(legacy.event(event) for event in EVENTS.split(chunk))
        if not self._seen.usage:
            return chunk
        if _USAGE not in chunk:
            return _without_usage(chunk)
        return b"".join(event if _USAGE in event else _without_usage(event) for event in EVENTS.split(chunk))


def _with_both(text: bytes) -> bytes:
    return text if b'"reasoning_content":' in text else _REASONING.sub(_BOTH, text)


def _without_usage(events: bytes) -> bytes:
    return events.replace(b"}\n\n", b',"usage":null}\n\n')
