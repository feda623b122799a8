"""The outermost ASGI callable: hot paths first, FastAPI for the rest.

Owns dispatch, and that whatever goes wrong is worded by the dialect whose path it is. Between the server and a hot
path's handler there is this one call and nothing else: no middleware, no routing table, no framework.
"""

import asyncio
from collections.abc import Sequence
from typing import cast

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request as StarletteRequest
from starlette.responses import Response

from dormouse_router.asgi import AsgiRequest, ClientLeft, Life, Lives, Receive, Scope, Send
from dormouse_router.gateway import Dialect, Handler, Refusal, Reply
from dormouse_router.settings import Settings

log = structlog.get_logger()


class App:
    """The router's client-facing ASGI application."""

    def __init__(self, dialects: Sequence[Dialect], settings: Settings) -> None:
        self._dialects = sorted(dialects, key=lambda dialect: len(dialect.prefix), reverse=True)
        self._posts: dict[str, Handler] = {path: run for dialect in dialects for path, run in dialect.posts.items()}
        self._max_body = settings.max_body
        self._access_log = settings.access_log
        self.lives = Lives(settings.body_timeout)
        self._rest = self._framework()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        handler = self._posts.get(scope["path"])
        if handler is None:
            await self._other(scope, receive, send)
            return
        request = AsgiRequest(scope, receive, send, self._max_body)
        life = self.lives.begin(request)
        try:
            if scope["method"] != "POST":
                raise _method_not_allowed(request.method, "POST")
            await handler(request)
        except Refusal as refusal:
            await self._refuse(request, refusal)
        except ClientLeft:
            pass
        except asyncio.CancelledError:
            await self._ended(life)
        except Exception:
            log.exception("request failed", path=request.path, request_id=request.request_id)
            await self._refuse(request, _bug())
        finally:
            self.lives.end(life)
            if self._access_log:
                log.info("served", path=request.path, request_id=request.request_id)

    def words(self, path: str, refusal: Refusal) -> Reply:
        """`refusal` in the dialect of `path`."""
        return next(dialect for dialect in self._dialects if path.startswith(dialect.prefix)).refuse(refusal)

    async def _refuse(self, request: AsgiRequest, refusal: Refusal) -> None:
        refusal.request_id = request.request_id
        if not request.started:
            await request.reply(self.words(request.path, refusal))
        elif not request.ended:
            # the head is out and the handler did not end its stream: cut it, so that it is not taken for whole
            log.error("stream given up", path=request.path, request_id=request.request_id, error=refusal.message)
            raise refusal

    async def _ended(self, life: Life) -> None:
        """The task was cancelled: by us for the client's sake, or by the server that stops."""
        if life.gone is None:
            if not life.request.started:
                text = "This router is stopping: send the request again, and another one takes it."
                await self._refuse(life.request, Refusal(503, text, code="router_stopping", retry_after=1.0))
            raise asyncio.CancelledError
        life.task.uncancel()
        if life.gone == "slow":
            text = "The request's body came too slowly: send it faster, or in one piece."
            await self._refuse(life.request, Refusal(408, text))

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._rest(scope, receive, send)
        except Exception:
            log.exception("request failed", path=scope["path"])

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


def _bug() -> Refusal:
    return Refusal(500, "The router failed on this request: its log says why.")


def _as_refusal(error: Exception, request: StarletteRequest) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body")
        return Refusal(400, f"Invalid {where or 'body'}: {first['msg']}.", code="invalid_value", param=where or None)
    if not isinstance(error, HTTPException):
        return _bug()
    if error.status_code == 405:
        return _method_not_allowed(request.method, (error.headers or {}).get("Allow", "another one"))
    if error.status_code == 404:
        text = f"Unknown request URL: {request.method} {request.url.path}. See /docs for what there is."
        return Refusal(404, text, code="unknown_url")
    return Refusal(error.status_code, str(error.detail))
