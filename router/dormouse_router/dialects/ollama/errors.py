"""How Ollama says no: `{"error": "text"}` with a status, or one such line in a stream that has begun.

Only what is no route at all is told in plain text, as a server says it that knows nothing of the API.
"""

from math import ceil

import msgspec

from dormouse_router.request import Refusal, Reply

JSON = (b"content-type", b"application/json; charset=utf-8")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
_NO_ROUTE = ("unknown_url", "method_not_allowed")

_BUSY = "server busy, please try again.  maximum pending requests exceeded"
"""Ollama's own words, with both spaces, for a queue that is full; its status is 503."""


def refuse(refusal: Refusal) -> Reply:
    """`refusal` as an answer of its own."""
    if refusal.status == 429 and refusal.limited is None:
        refusal = Refusal(503, f"{_BUSY}: {refusal.message}", retry_after=refusal.retry_after)
    if refusal.code in _NO_ROUTE:
        return Reply(refusal.status, refusal.message.encode() + b"\n", (TEXT,))
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    if refusal.retry_after is not None:
        headers += ((b"retry-after", str(max(1, ceil(refusal.retry_after))).encode()),)
    return Reply(refusal.status, msgspec.json.encode({"error": refusal.message}), headers)


def error_line(message: str) -> bytes:
    """The error as the last line of a stream."""
    return msgspec.json.encode({"error": message}) + b"\n"


def bad_request(message: str) -> Refusal:
    return Refusal(400, message)


def not_found(name: str, to_call: bool) -> Refusal:
    """The official clients branch on the status and on the words "not found"."""
    fix = f", try pulling it first: ollama pull {name}" if to_call else ""
    return Refusal(404, f"model '{name}' not found{fix}", code="model_not_found")
