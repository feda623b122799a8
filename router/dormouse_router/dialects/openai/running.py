"""Every stream is asked for its usage so far, and whoever did not ask for that does not see it. Pure.

So a stream that is given up is counted like one that ends, and what an engine says is changed in the bytes, as `edits`
does it: `,"usage":{` is never in a string, for its quotes would be escaped there, and engines write it last.
"""

import re

import msgspec
from msgspec import Raw

from dormouse_router.dataplane.peek import Peek

_ASKED = b',"stream_options":{"include_usage":true,"continuous_usage_stats":true}}'
_fields = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.encode
_KEY, _ANY_KEY, _END = b',"usage":{', b'"usage":', b"}\n\n"
_BRACE = 0x7D
_USAGE = re.compile(rb',\s*"usage":\s*(?:null|\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_OF_ALL = re.compile(rb'"choices":\s*\[\s*\]')
"""The one event that is of no choice tells the usage of the whole stream."""
EVENTS = re.compile(rb"(?<=\n\n)|(?<=\r\n\r\n)")


def asked(body: bytes, seen: Peek) -> bytes:
    """`body`, of a stream, asking for its usage in every event."""
    if not seen.options:
        return body.rstrip()[:-1] + _ASKED
    fields = _fields(body)
    said = bytes(fields.get("stream_options", b"null"))
    options = {} if said == b"null" else _fields(said)
    options |= {"include_usage": Raw(b"true"), "continuous_usage_stats": Raw(b"true")}
    return _encode(fields | {"stream_options": Raw(_encode(options))})


def hidden(events: bytes, *, total: bool) -> bytes:
    """Whole events without their usage; the one that tells that of the whole stream stays where `total` is."""
    at = events.find(_KEY)
    if at < 0:
        return events if _ANY_KEY not in events else _each(events, total)
    # nearly always one event, of a choice, with the usage at its end and nothing after it
    end = len(events) - 4
    if events[at - 2] == _BRACE and events.find(b"}}\n\n", at) == end and events.find(b"},", at) < 0:
        return events[:at] + _END
    return _each(events, total)


def _each(events: bytes, total: bool) -> bytes:
    return b"".join(_one(event, total) for event in EVENTS.split(events))


def _one(event: bytes, total: bool) -> bytes:
    if _ANY_KEY not in event:
        return event
    if _OF_ALL.search(event):
        return event if total else b""
    return _USAGE.sub(b"", event)
