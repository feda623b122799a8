"""The routes of /v1/models. Looking wakes nothing."""

from collections.abc import Iterator

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.catalog.versions import Version, versions
from dormouse_router.dialects.anthropic import cards as anthropic
from dormouse_router.dialects.deletion import delete
from dormouse_router.dialects.openai.models import cards, replicate
from dormouse_router.dialects.openai.models.cards import Card
from dormouse_router.dialects.openai.models.registering import Registering
from dormouse_router.gateway import Gateway, ModelStore, unknown
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal

NAME = "/v1/models/{name:path}"


class Models:
    """The handlers of what reads and deletes."""

    def __init__(self, gateway: Gateway, store: ModelStore) -> None:
        self._gateway, self._store = gateway, store

    async def list_all(self, request: Request) -> Response:
        """Every model and every route, asleep or awake. Listing wakes nothing."""
        caller = self._caller(request)
        if replicate.asked(request.headers):
            base = _base(request)
            return _json(replicate.page(replicate.model(record, base) for record in self._gateway.models(caller)))
        listed = list(self._cards(caller))
        return _json(anthropic.page(listed) if anthropic.asked(request) else {"object": "list", "data": listed})

    async def show(self, request: Request, name: str) -> Response:
        """One model, by any of its names, which may hold slashes."""
        caller = self._caller(request)
        if anthropic.asked(request):
            return anthropic.one(lambda: self._card(name, caller))
        found = self._found(name, caller)
        if replicate.asked(request.headers):
            return _json(replicate.model(_model(found, name), _base(request)))
        if isinstance(found, Route):
            return _json(self._card(name, caller))
        return _json(cards.details(found, name, self._gateway.awake(found)))

    async def versions(self, request: Request, name: str) -> Response:
        """The commits that its volume has held, newest first."""
        caller = self._caller(request)
        whole = f"{name}/versions"
        if self._gateway.look_up(name, caller) is None and self._gateway.look_up(whole, caller) is not None:
            return await self.show(request, whole)
        record = _model(self._found(name, caller), name)
        if replicate.asked(request.headers):
            return _json(replicate.page(replicate.version(record, version) for version in versions(record)))
        shown = [cards.of_version(version) for version in versions(record)]
        return _json({"object": "list", "data": shown, "has_more": False})

    async def version(self, request: Request, name: str, version: str) -> Response:
        """One of them."""
        record = _model(self._found(name, self._caller(request)), name)
        found = _version(record, version)
        if replicate.asked(request.headers):
            return _json(replicate.version(record, found))
        return _json(cards.of_version(found))

    async def delete(self, request: Request, name: str) -> Response:
        """Delete a model, its weights too, or a route; where the router allows it. A model that routes need stays."""
        caller = self._caller(request)
        await delete(self._gateway, self._store, self._found(name, caller), name, caller)
        if replicate.asked(request.headers):
            return Response(status_code=204)
        return _json({"id": name, "object": "model", "deleted": True})

    def _caller(self, request: Request) -> Caller:
        return self._gateway.caller(headers_owner(request.headers))

    def _found(self, name: str, caller: Caller) -> Record | Route:
        """Refusal 404."""
        found = self._gateway.look_up(name, caller)
        if found is None:
            raise unknown(name)
        return found

    def _cards(self, caller: Caller) -> Iterator[Card]:
        gateway = self._gateway
        for record in gateway.models(caller):
            name, awake = self._id(record, caller), gateway.awake(record)
            yield cards.of_record(record, name, awake)
            yield from cards.of_adapters(record, name, awake)
        for route in gateway.routes(caller):
            yield cards.of_route(route, self._id(route, caller), gateway.behind(route))

    def _card(self, name: str, caller: Caller) -> Card:
        found = self._found(name, caller)
        if isinstance(found, Record):
            return cards.of_record(found, name, self._gateway.awake(found))
        return cards.of_route(found, name, self._gateway.behind(found))

    def _id(self, listed: Record | Route, caller: Caller) -> str:
        """The shortest name that means it: of two with one name, the younger goes by its namespace too."""
        found = self._gateway.look_up(listed.name, caller)
        return listed.name if found is not None and found.uid == listed.uid else listed.full_name


def routes(gateway: Gateway, store: ModelStore) -> APIRouter:
    """What is mounted of them."""
    router, models, registering = APIRouter(tags=["OpenAI"]), Models(gateway, store), Registering(gateway, store)
    _stored(router)
    router.add_api_route("/v1/models", registering.create, methods=["POST"], response_model=None)
    for path, handler in (
        ("/v1/models", models.list_all),
        (f"{NAME}/versions", models.versions),
        (f"{NAME}/versions/{{version}}", models.version),
        (NAME, models.show),
    ):
        router.add_api_route(path, handler, methods=["HEAD"], include_in_schema=False, response_model=None)
        router.add_api_route(path, handler, methods=["GET"], response_model=None)
    router.add_api_route(NAME, registering.change, methods=["PATCH"], response_model=None)
    router.add_api_route(NAME, models.delete, methods=["DELETE"], response_model=None)
    return router


def _model(found: Record | Route, name: str) -> Record:
    """Refusal 400 of a route."""
    if isinstance(found, Record):
        return found
    names = ", ".join(found.models)
    raise Refusal(400, f"'{name}' is a route over {names}: ask for one of these.", code="unsupported", param="model")


def _version(record: Record, ident: str) -> Version:
    """Refusal 404."""
    found = next((version for version in versions(record) if version.id == ident), None)
    if found is None:
        path = f"/v1/models/{record.name}/versions"
        text = f"The model '{record.name}' has no version '{ident[:80]}': GET {path} lists them."
        raise Refusal(404, text, param="version")
    return found


def _base(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def _stored(router: APIRouter) -> None:
    """Completions that were kept: there are none, which is said in words."""

    async def none() -> Response:
        text = (
            "Chat completions are not stored here, whatever 'store' says: keep the answer, or use POST /v1/responses, "
            "which keeps it."
        )
        raise Refusal(404, text)

    router.add_api_route("/v1/chat/completions", none, include_in_schema=False, response_model=None)
    methods = ["GET", "POST", "DELETE"]
    path = "/v1/chat/completions/{name:path}"
    router.add_api_route(path, none, methods=methods, include_in_schema=False, response_model=None)


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
