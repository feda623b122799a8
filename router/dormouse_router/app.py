"""The ASGI application for everything that is not a hot path: FastAPI, and errors in the dialect of each path.

Owns that whatever goes wrong is worded by the dialect whose path it is. Hot paths are `hot.py`'s; here they only refuse
methods that they do not have.
"""

from collections.abc import Sequence
from typing import cast

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from dormouse_router.asgi import Receive, Scope, Send
from dormouse_router.openapi import pages
from dormouse_router.recent import concealed
from dormouse_router.request import Dialect, Refusal, Reply

log = structlog.get_logger()


class Lives:
    """How many requests are on hot paths now: from their head to the end of their answer."""

    count = 0


class App:
    """The router's client-facing ASGI application."""

    def __init__(self, dialects: Sequence[Dialect]) -> None:
        self.dialects = sorted(dialects, key=lambda dialect: len(dialect.prefix), reverse=True)
        self._hot = {path for dialect in dialects for path in (*dialect.posts, *dialect.starts, *dialect.forms)}
        self._named = [ends for dialect in dialects for ends in dialect.named]
        self._routers = [pages.router(), *(cast("APIRouter", dialect.router) for dialect in self.dialects)]
        self._also = {(route.path, method) for route in self.routes for method in route.methods or ()}
        """What the framework answers, on hot paths too."""
        self.lives = Lives()
        self._rest = self._framework()

    @property
    def routes(self) -> list[APIRoute]:
        """Those of the framework: everything but the hot paths."""
        return [route for router in self._routers for route in router.routes if isinstance(route, APIRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in self._hot and (scope["path"], scope["method"]) not in self._also:
            await self._wrong_method(scope, send)
            return
        try:
            await self._rest(scope, receive, send)
        except Exception:
            log.exception("request failed", path=scope["path"])

    def words(self, path: str, refusal: Refusal) -> Reply:
        """`refusal` in the dialect of `path`: whose names it has around a model's, else whose prefix."""
        named = (dialect for dialect in self.dialects if any(between(path, ends) for ends in dialect.named))
        whose = next(named, None) or next(each for each in self.dialects if path.startswith(each.prefix))
        return whose.refuse(refusal)

    async def _wrong_method(self, scope: Scope, send: Send) -> None:
        allowed = self._allowed(scope["path"])
        reply = self.words(scope["path"], _method_not_allowed(scope["method"], allowed))
        length = (b"content-length", b"%d" % len(reply.body))
        headers = [*reply.headers, (b"allow", allowed.encode()), length, (b"connection", b"close")]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def _allowed(self, path: str) -> str:
        """The methods of `path`, as a 405 has to tell them (RFC 9110)."""
        if any(between(path, ends) for ends in self._named):
            return "POST"
        if path in self._hot:
            methods = {"POST", *(method for known, method in self._also if known == path)}
        else:
            fitting = [route for route in self.routes if route.path_regex.match(path)]
            closest = max((len(route.path) for route in fitting), default=0)
            methods = {m for route in fitting if len(route.path) == closest for m in route.methods or ()}
        return ", ".join(sorted(methods))

    def _framework(self) -> FastAPI:
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        for router in self._routers:
            app.include_router(router)

        async def refused(request: StarletteRequest, error: Exception) -> Response:
            if isinstance(error, HTTPException) and error.status_code == 405:
                allowed = self._allowed(request.url.path)
                return self._response(request, _method_not_allowed(request.method, allowed), {"allow": allowed})
            return self._response(request, _as_refusal(error, request), {})

        for kind in (Refusal, HTTPException, RequestValidationError, Exception):
            app.add_exception_handler(kind, refused)
        return app

    def _response(self, request: StarletteRequest, refusal: Refusal, more: dict[str, str]) -> Response:
        reply = self.words(request.url.path, refusal)
        headers = {name.decode(): value.decode() for name, value in reply.headers} | more
        return Response(b"" if request.method == "HEAD" else reply.body, reply.status, headers)


def between(path: str, ends: tuple[str, str]) -> bool:
    """Whether `path` has a name between the two."""
    before, after = ends
    return len(path) > len(before) + len(after) and path.startswith(before) and path.endswith(after)


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
        # the first is FastAPI's word for where it looked: body, query, path
        name = ".".join(str(part) for part in first["loc"][1:])
        text = f"Invalid {name or 'body'!r}: {first['msg']}."
        return Refusal(400, text, code="invalid_value", param=name or None)
    if not isinstance(error, HTTPException):
        return bug()
    if error.status_code == 404:
        text = f"Unknown request URL: {request.method} {concealed(request.url.path)}. See /docs for what there is."
        return Refusal(404, text, code="unknown_url")
    return Refusal(error.status_code, str(error.detail))
