"""The routes that wake nothing: lists, details, delete, and the registry operations that are refused in words."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response

from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.deletion import delete
from dormouse_router.dialects.ollama import derived, describe, names
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import NameRequest, decode, model_of
from dormouse_router.dialects.ollama.serve import answer_json, look_up
from dormouse_router.dialects.timed import Clock
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.keeping import headers_owner, request_owner
from dormouse_router.request import Refusal, Request

VERSION = "0.33.0"
"""The version of Ollama whose API this is: editors refuse servers that are too old."""
_MAX_BODY = 64 * 1024
_NO_PUSH = "models are not pushed from here: publish the weights on the hub, then pull them"
_NO_ACCOUNT = f"there are no accounts of ollama.com here, and {_NO_PUSH}"
_REFUSED = {
    "/api/push": (400, _NO_PUSH),
    "/api/blobs/{digest}": (400, f"blobs are not taken: {derived.REFUSED['files']}"),
    "/api/me": (404, _NO_ACCOUNT),  # what the command line asks before it pushes
    "/api/signout": (404, _NO_ACCOUNT),
}


def json_response(content: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json; charset=utf-8")


class Reading:
    """Answers out of the catalogue alone."""

    def __init__(self, gateway: Gateway, store: ModelStore, clock: Clock) -> None:
        self._gateway, self._store, self._clock = gateway, store, clock

    async def tags(self, http: HttpRequest) -> Response:
        """Every model whose weights are here and every route over one, newest first, under each of their names."""
        caller = self._caller(http)
        records = self._gateway.models(caller)
        entries = [
            describe.listing(record, name)
            for record in records
            if record.pulled
            for name in describe.names_listed(record)
        ]
        entries += [describe.listing(*adapted) for record in records for adapted in _adapted(record)]
        for route, parent in self._derived(caller):
            entries += [derived.listing(route, parent, name) for name in derived.names_listed(route) if parent.pulled]
        return json_response({"models": sorted(entries, key=lambda entry: entry["modified_at"], reverse=True)})

    async def ps(self, http: HttpRequest) -> Response:
        """The models that are awake, or waking, and the routes over them, the longest-lived first, under each name."""
        caller = self._caller(http)
        records = [record for record in self._gateway.models(caller) if self._up(record)]
        ends = await asyncio.gather(*(self._gateway.awake_until(record) for record in records))
        now = self._clock.wall()
        up = {record.key: (record, end) for record, end in zip(records, ends, strict=True)}
        entries = [
            describe.running(record, name, end, now)
            for record, end in up.values()
            for name in describe.names_listed(record)
        ]
        for route, parent in self._derived(caller):
            awake = next((up[record.key] for record in self._gateway.behind(route) if record.key in up), None)
            if awake is not None:
                record, end = awake
                entries += [
                    describe.running(record, name, end, now) | derived.own(route, parent)
                    for name in derived.names_listed(route)
                ]
        return json_response({"models": sorted(entries, key=lambda entry: entry["expires_at"], reverse=True)})

    def _up(self, record: Record) -> bool:
        return self._gateway.awake(record) or (record.ready and record.reason == "Waking")

    def _caller(self, http: HttpRequest) -> Caller:
        return self._gateway.caller(headers_owner(http.headers))

    def _derived(self, caller: Caller) -> list[tuple[Route, Record]]:
        """Every route with the model it is shown as: its first that is there."""
        found = ((route, self._gateway.behind(route)) for route in self._gateway.routes(caller))
        return [(route, models[0]) for route, models in found if models]

    async def show(self, request: Request) -> None:
        wish = decode(await request.body(), NameRequest)
        name = model_of(wish)
        found = look_up(self._gateway, name, self._gateway.caller(request_owner(request)))
        agent = (request.header(b"user-agent") or b"").decode("latin-1")
        if isinstance(found, Record):
            await answer_json(request, describe.show(found, name, agent))
            return
        models = self._gateway.behind(found)
        if not models:
            raise Refusal(404, f"model '{name}' not found: the models of its route {found.full_name} are not there")
        await answer_json(request, derived.show(found, models[0], name, agent))

    async def delete(self, http: HttpRequest) -> Response:
        wish = decode(await _body(http.stream()), NameRequest)
        name = model_of(wish)
        if names.parse(name) is None:
            raise bad_request(f'name "{name}" is invalid')
        caller = self._caller(http)
        found = look_up(self._gateway, name, caller)
        await delete(self._gateway, self._store, found, name, caller)
        return Response(status_code=200)

    def routes(self) -> APIRouter:
        """Everything but the POST routes, which the application dispatches by itself."""
        router = APIRouter()

        def get(path: str, handler: Any, *, head: bool = False) -> None:
            methods = ["GET", "HEAD"] if head else ["GET"]
            router.add_api_route(path, handler, methods=methods, include_in_schema=False, response_model=None)

        get("/", _running, head=True)
        get("/api/version", _version, head=True)
        get("/api/status", _status)
        get("/api/tags", self.tags, head=True)
        get("/api/ps", self.ps)
        router.add_api_route(
            "/api/delete", self.delete, methods=["DELETE"], response_model=None, include_in_schema=False
        )
        for path, (status, words) in _REFUSED.items():
            router.add_api_route(
                path, _refuser(status, words), methods=["POST"], response_model=None, include_in_schema=False
            )
        router.add_api_route("/api/blobs/{digest}", _no_blob, methods=["HEAD"], response_model=None)
        return router


def _adapted(record: Record) -> list[tuple[Record, str]]:
    """Its adapters that are callable, each with its name."""
    ready = [told.name for told in record.status.adapters or () if told.ready]
    return [(replace(record, adapter=name), f"{record.name}:{name}") for name in ready]


async def _running() -> Response:
    return PlainTextResponse("Ollama is running")


async def _version() -> Response:
    return json_response({"version": VERSION})


async def _status() -> Response:
    return json_response({"cloud": {"disabled": True, "source": "server"}})


async def _no_blob(digest: str) -> Response:
    return Response(status_code=404)


def _refuser(status: int, words: str) -> Any:
    async def refused() -> Response:
        raise Refusal(status, words, code="unsupported")

    return refused


async def _body(stream: AsyncIterator[bytes]) -> bytes:
    body = b""
    async for piece in stream:
        body += piece
        if len(body) > _MAX_BODY:
            raise Refusal(413, f"the body of this request may have at most {_MAX_BODY} bytes")
    return body
