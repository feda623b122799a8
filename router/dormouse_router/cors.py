"""Which web pages may call the router: this machine's, those of desktop applications and editors, and its own.

A page of any other origin is refused, not only kept from reading the answer: bodies are read as JSON whatever their
type, so a browser would otherwise carry a stranger's POST /pull in without asking first. Callers that are no browser
send no Origin and pay one look at their headers.
"""

import re
from collections.abc import Callable

from dormouse_router.asgi import Asgi, Message, Receive, Scope, Send
from dormouse_router.request import Refusal, Reply

LOCAL = re.compile(
    rb"https?://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::\d+)?"
    rb"|(?:app|file|tauri|vscode-webview|vscode-file|chrome-extension|moz-extension|safari-web-extension)://.*"
)
_METHODS = b"GET, POST, PATCH, DELETE, HEAD, OPTIONS"
_HEADERS = b"authorization, content-type, user-agent, accept, x-requested-with, openai-beta, x-api-key, x-request-id"
_FAMILIES = (b"x-stainless-", b"x-dormouse-", b"anthropic-")
"""The SDKs' headers and our own: their lists grow, so those that are asked for are allowed."""
_MAX_AGE = b"43200"
_EXPOSED = (
    b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, location, openai-version, "
    b"openai-processing-ms, "
    b"x-dormouse-model, x-dormouse-quantization, x-dormouse-commit, x-dormouse-engine, x-dormouse-hold-ms, "
    b"x-dormouse-route, x-dormouse-variant, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, "
    b"x-ratelimit-reset-requests, x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens"
)
"""All that answers say in headers: a page may read no others."""


class Cors:
    """`app` behind the check. `words` gives an error in the dialect of a path; `origins`: more of them, `*` is all."""

    def __init__(self, app: Asgi, words: Callable[[str, Refusal], Reply], origins: tuple[str, ...]) -> None:
        self._app, self._words = app, words
        self._all = "*" in origins
        self._origins = frozenset(origin.rstrip("/").lower().encode() for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origin = _header(scope, b"origin")
        if origin is None:
            await self._app(scope, receive, send)
            return
        try:
            headers = self.admit(origin, _header(scope, b"host"))
        except Refusal as refusal:
            await _send(send, self._words(scope["path"], refusal))
            return
        if scope["method"] == "OPTIONS":
            await _send(send, Reply(204, b"", _preflight(origin, _header(scope, b"access-control-request-headers"))))
        else:
            await self._app(scope, receive, _telling(send, headers))

    def admit(self, origin: bytes, host: bytes | None) -> list[tuple[bytes, bytes]]:
        """The headers with which a page of `origin` may read its answer. Refusal 403 where it may not call."""
        if not self.allows(origin, host):
            raise _refused(origin)
        return [*_allowing(origin), (b"access-control-expose-headers", _EXPOSED)]

    def allows(self, origin: bytes, host: bytes | None) -> bool:
        """Whether a page of `origin` may call, on a router reached as `host`."""
        origin = origin.lower()
        own = host is not None and origin.partition(b"://")[2] == host.lower()
        return self._all or own or origin in self._origins or LOCAL.fullmatch(origin) is not None


def _header(scope: Scope, name: bytes) -> bytes | None:
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return None


def _allowing(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"vary", b"origin")]


def _preflight(origin: bytes, asked: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    names = [name.strip().lower() for name in (asked or b"").split(b",")]
    headers = b", ".join([_HEADERS, *(name for name in names if name.startswith(_FAMILIES))])
    return (
        *_allowing(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", headers),
        (b"access-control-max-age", _MAX_AGE),
    )


def _telling(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *more]}
        await send(message)

    return tell


def _refused(origin: bytes) -> Refusal:
    shown = origin[:200].decode("latin-1")
    text = f"Web pages of {shown} may not call this router: add the origin to DORMOUSE_ORIGINS (chart: router.origins)."
    return Refusal(403, text, code="origin_not_allowed")


async def _send(send: Send, reply: Reply) -> None:
    headers = [*reply.headers, (b"content-length", str(len(reply.body)).encode()), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
