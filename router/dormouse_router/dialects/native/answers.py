"""How the native API words errors and other answers, and how its reads are mounted."""

from collections.abc import Callable, Coroutine
from math import ceil
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from dormouse_router.caller import Caller
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal, Reply

JSON = (b"content-type", b"application/json")


def refuse(refusal: Refusal) -> Reply:
    """An error of this API: `{"error": sentence}`, and `param` where one field is to blame."""
    fields = {"error": refusal.message} | ({"param": refusal.param} if refusal.param else {})
    headers: tuple[tuple[bytes, bytes], ...] = (JSON,)
    if refusal.retry_after is not None:
        headers += ((b"retry-after", str(max(1, ceil(refusal.retry_after))).encode()),)
    return Reply(refusal.status, msgspec.json.encode(fields), headers)


def bad_request(message: str, param: str | None = None) -> Refusal:
    return Refusal(400, message, param=param)


def answer(fields: dict[str, Any], status: int = 200) -> Response:
    """A whole answer of the application."""
    return Response(msgspec.json.encode(fields), status, media_type="application/json")


def caller_of(gateway: Gateway, request: HttpRequest) -> Caller:
    """Who asks, of what the framework serves."""
    return gateway.caller(headers_owner(request.headers))


def reads(router: APIRouter, path: str, handler: Callable[..., Coroutine[Any, Any, Response]]) -> None:
    """Mount `handler` for GET and HEAD."""
    router.add_api_route(path, handler, methods=["GET"], response_model=None)
    router.add_api_route(path, handler, methods=["HEAD"], response_model=None, include_in_schema=False)
