"""How Anthropic's API says no: one envelope, with a type per status, whole or as a stream's last event."""

import uuid

import msgspec

from dormouse_router.request import Refusal, Reply

JSON = (b"content-type", b"application/json")
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def kind_of(status: int) -> str:
    """Anthropic's word for a status."""
    return _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")


def envelope(status: int, message: str, request_id: str) -> bytes:
    """The error as JSON."""
    error = {"type": kind_of(status), "message": message}
    return msgspec.json.encode({"type": "error", "error": error, "request_id": request_id})


def event(status: int, message: str, request_id: str) -> bytes:
    """The error as the last event of a stream whose head is out: the SDKs raise it."""
    return b"event: error\ndata: " + envelope(status, message, request_id) + b"\n\n"


def refuse(refusal: Refusal) -> Reply:
    """The answer to a refused call."""
    request_id = refusal.request_id or f"req-{uuid.uuid4().hex}"
    headers: list[tuple[bytes, bytes]] = [JSON, (b"request-id", request_id.encode())]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % round(refusal.retry_after * 1000)))
    if refusal.should_retry is not None or refusal.status == 409:
        # the SDKs retry every 409 and 5xx unless they are told that it will not help
        headers.append((b"x-should-retry", b"true" if refusal.should_retry else b"false"))
    return Reply(refusal.status, envelope(refusal.status, refusal.message, request_id), tuple(headers))


def bad_request(message: str) -> Refusal:
    return Refusal(400, message)
