"""OpenAI's error envelope: our refusals in it, and the engines' errors translated into it.

All four keys are always there; `code` is a string or null. vLLM sends an integer code and the name of a Python class as
type, so its errors are not passed on as they are; its sentence is.
"""

from typing import Any

import msgspec

from dormouse_router.request import Headers, Refusal, Reply

_TYPES = {429: "requests", 502: "server_error", 503: "service_unavailable", 504: "server_error"}
JSON = (b"content-type", b"application/json")


def refuse(refusal: Refusal) -> Reply:
    """The answer to a refused call."""
    headers: list[tuple[bytes, bytes]] = [JSON]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % round(refusal.retry_after * 1000)))
    if refusal.should_retry is not None or refusal.status == 409:
        # the SDKs retry every 409 and 5xx unless they are told that it will not help
        headers.append((b"x-should-retry", b"true" if refusal.should_retry else b"false"))
    body = envelope(refusal.status, refusal.message, refusal.code, refusal.param)
    return Reply(refusal.status, body, tuple(headers))


def envelope(status: int, message: str, code: str | None = None, param: str | None = None) -> bytes:
    """The error as JSON."""
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def event(status: int, message: str, code: str | None = None) -> bytes:
    """The error as the last event of a stream whose head is out: the SDKs raise it."""
    return b"data: " + envelope(status, message, code) + b"\n\n"


def translate(status: int, body: bytes) -> bytes:
    """An engine's error body in OpenAI's envelope: its message and parameter, our type and code."""
    error = _error_of(body)
    message = error.get("message")
    param, code = error.get("param"), error.get("code")
    return envelope(
        status,
        message if isinstance(message, str) and message else f"The engine answered {status}.",
        code if isinstance(code, str) else _code(status, str(message)),
        param if isinstance(param, str) else None,
    )


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {"message": body[:1000].decode(errors="replace").strip()}
    if not isinstance(decoded, dict):
        return {}
    inner = decoded.get("error", decoded.get("detail", decoded))
    return inner if isinstance(inner, dict) else {"message": str(inner)}


def _code(status: int, message: str) -> str | None:
    if status == 400 and "maximum context length" in message:
        return "context_length_exceeded"
    return "model_not_found" if status == 404 else None


def passed_on(headers: Headers) -> Headers:
    """Those of an engine's headers that mean something to a client."""
    return [(name, value) for name, value in headers if name in (b"retry-after", b"retry-after-ms")]
