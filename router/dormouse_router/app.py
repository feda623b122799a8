"""The ASGI application for everything that is not a hot path: FastAPI, and errors in the dialect of each path.

Owns that whatever goes wrong is worded by the dialect whose path it is. Hot paths are `hot.py`'s; here they only refuse
methods that they do not have.
"""

from collections.abc import Sequence
from typing import cast

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from dormouse_router.asgi import Receive, Scope, Send
from dormouse_router.request import Dialect, Refusal, Reply

log = structlog.get_logger()


class Lives:
    """How many requests are on hot paths now: from their head to the end of their answer."""

    count = 0


class App:
    """The router's client-facing ASGI application."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self._dialects = sorted(dialects, key=lambda dialect: len(dialect.prefix), reverse=True)
        self._hot = {path for dialect in dialects for path in (*dialect.posts, *dialect.starts)}
        self.lives = Lives()
        self._rest = self._framework()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._hot:
            await self._wrong_method(scope, send)
            return
        try:
            await self._rest(scope, receive, send)
        except Exception:
            log.exception("request failed", path=scope["path"])

    def words(self, path: str, refusal: Refusal) -> Reply:
        """`refusal` in the dialect of `path`."""
        return next(dialect for dialect in self._dialects if path.startswith(dialect.prefix)).refuse(refusal)

    async def _wrong_method(self, scope: Scope, send: Send) -> None:
        reply = self.words(scope["path"], _method_not_allowed(scope["method"], "POST"))
        headers = [*reply.headers, (b"content-length", b"%d" % len(reply.body)), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _framework(self) -> FastAPI:
        app = FastAPI(title="Dormouse", docs_url="/docs", redoc_url=None, openapi_url="/openapi.json")
        for dialect in self._dialects:
            app.include_router(cast("APIRouter", dialect.router))

        async def refused(request: StarletteRequest, error: Exception) -> Response:
            return self._response(request, _as_refusal(error, request))

        for kind in (Refusal, HTTPException, RequestValidationError, Exception):
            app.add_exception_handler(kind, refused)
        return app

    def _response(self, request: StarletteRequest, refusal: Refusal) -> Response:
        reply = self.words(request.url.path, refusal)
        headers = {name.decode(): value.decode() for name, value in reply.headers}
        return Response(b"" if request.method == "HEAD" else reply.body, reply.status, headers)


def _method_not_allowed(method: str, allowed: str) -> Refusal:
    return Refusal(405, f"Method {method} is not allowed here: use {allowed}.", code="method_not_allowed")


def bug() -> Refusal:
    """What a client is told of a fault of ours."""
    return Refusal(500, "The router failed on this request: its log says why.")


def _as_refusal(error: Exception, request: StarletteRequest) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return Refusal(400, f"Invalid {where or 'body'}: {first['msg']}.", code="invalid_value", param=where or None)
    if not isinstance(error, HTTPException):
        return bug()
    if error.status_code == 405:
        return _method_not_allowed(request.method, (error.headers or {}).get("Allow", "another one"))
    if error.status_code == 404:
        text = f"Unknown request URL: {request.method} {request.url.path}. See /docs for what there is."
        return Refusal(404, text, code="unknown_url")
    return Refusal(error.status_code, str(error.detail))
