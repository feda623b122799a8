"""OpenAI's error envelope: our refusals in it, and the engines' errors translated into it.

All four keys are always there; `code` is a string or null. vLLM sends an integer code and the name of a Python class as
type, so its errors are not passed on as they are; its sentence is.
"""

import re
from typing import Any

import msgspec

from dormouse_router.dialects.complaints import too_long, with_fix
from dormouse_router.gateway import CHAT, COMPLETIONS, EMBEDDINGS
from dormouse_router.request import Headers, Refusal, Reply

_TYPES = {429: "requests", 502: "server_error", 503: "service_unavailable", 504: "server_error"}
JSON = (b"content-type", b"application/json")
VERSION = (b"openai-version", b"2020-10-01")


def refuse(refusal: Refusal) -> Reply:
    """The answer to a refused call."""
    headers: list[tuple[bytes, bytes]] = [JSON, VERSION]
    if refusal.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(refusal.retry_after))))
        headers.append((b"retry-after-ms", b"%d" % round(refusal.retry_after * 1000)))
    if refusal.should_retry is not None or refusal.status == 409:
        # the SDKs retry every 409 and 5xx unless they are told that it will not help
        headers.append((b"x-should-retry", b"true" if refusal.should_retry else b"false"))
    body = envelope(refusal.status, refusal.message, refusal.code, refusal.param, refusal.limited)
    return Reply(refusal.status, body, tuple(headers))


def envelope(
    status: int, message: str, code: str | None = None, param: str | None = None, kind: str | None = None
) -> bytes:
    """The error as JSON. `kind`: its type, where the status does not tell."""
    kind = kind or _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def event(status: int, message: str, code: str | None = None) -> bytes:
    """The error as the last event of a stream whose head is out: the SDKs raise it."""
    return b"data: " + envelope(status, message, code) + b"\n\n"


def in_band(failed: bytes) -> bytes:
    """An engine's own last event, in which it says that it failed, with the error in OpenAI's envelope."""
    said = _error_of(failed.partition(b":")[2])
    code = said.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else 500
    return b"data: " + _translated(status, said, "") + b"\n\n"


def translate(status: int, body: bytes, path: str, name: str) -> tuple[int, bytes]:
    """Status and body of an engine's error in OpenAI's envelope: its message and parameter, our type and code.

    `path`: what was asked of the engine. A route that it has not is the caller's fault, who chose model `name` for it.
    """
    said = _error_of(body)
    if status in (404, 405, 501) and not _MODEL.search(str(said.get("message"))):
        text = (
            f"The engine of '{name}' has no {path} for this model: {_words(said, status)}. "
            "GET /v1/models lists what each model can."
        )
        return 400, envelope(400, text, "model_not_supported", "model")
    return status, _translated(status, said, path)


_MODEL = re.compile(r"model .* (does not exist|not found)", re.IGNORECASE)
_PROMPT = {CHAT: "messages", COMPLETIONS: "prompt", EMBEDDINGS: "input"}
"""What of a body is too long where the engine says that it is."""
_CODES = {404: "model_not_found", 429: "rate_limit_exceeded"}
_PLACE = re.compile(r"\.(\d+)(?=\.|$)")


def _translated(status: int, said: dict[str, Any], path: str) -> bytes:
    message, param, code = _words(said, status), said.get("param"), said.get("code")
    if too_long(status, message):
        return envelope(status, message, "context_length_exceeded", _PROMPT.get(path, "messages"))
    known = code if isinstance(code, str) else _CODES.get(status)
    return envelope(status, _with_fix(message), known, _parameter(param) if isinstance(param, str) else None)


def _words(said: dict[str, Any], status: int) -> str:
    message = said.get("message")
    return message if isinstance(message, str) and message else f"The engine answered {status}."


def _with_fix(message: str) -> str:
    """The engine's words, and where they name one of its flags what a user can set instead."""
    fix = with_fix(message)
    return message if fix == message else f"{message} ({fix})"


def _parameter(said: str) -> str:
    """vLLM's place in a body, `body.messages.0.role`, as OpenAI writes it: `messages[0].role`."""
    return _PLACE.sub(r"[\1]", said.removeprefix("body."))


def _error_of(body: bytes) -> dict[str, Any]:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {"message": body[:1000].decode(errors="replace").strip()}
    if not isinstance(decoded, dict):
        return {"message": str(decoded)}
    inner = decoded.get("error", decoded.get("detail", decoded))
    return inner if isinstance(inner, dict) else {"message": str(inner)}


def passed_on(status: int, headers: Headers) -> Headers:
    """When to come back, after an engine's error: as it says, or soon where it is only busy."""
    found = dict(headers)
    after = found.get(b"retry-after") or (b"1" if status in (429, 503) else None)
    if after is None or not after.isdigit():
        return []
    return [(b"retry-after", after), (b"retry-after-ms", found.get(b"retry-after-ms") or after + b"000")]
