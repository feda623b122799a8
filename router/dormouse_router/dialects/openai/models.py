"""Models in OpenAI's lists, one of them, and its end. Looking wakes nothing."""

from collections.abc import Iterable

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.anthropic import cards as anthropic
from dormouse_router.dialects.deletion import delete
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Refusal

Card = dict[str, object]


def routes(gateway: Gateway, store: ModelStore) -> APIRouter:
    """What is mounted of them."""
    router = APIRouter(tags=["OpenAI"])
    _stored(router)

    @router.head("/v1/models", include_in_schema=False)
    @router.get("/v1/models")
    async def list_models(request: Request) -> Response:
        """Every model and every route, asleep or awake. Listing wakes nothing."""
        cards = [_record_card(record, _id(gateway, record)) for record in gateway.models()]
        cards += [_route_card(gateway, route, _id(gateway, route)) for route in gateway.routes()]
        return _json(anthropic.page(cards) if anthropic.asked(request) else {"object": "list", "data": cards})

    @router.head("/v1/models/{name:path}", include_in_schema=False)
    @router.get("/v1/models/{name:path}")
    async def show_model(request: Request, name: str) -> Response:
        """One model, by any of its names, which may hold slashes."""
        if anthropic.asked(request):
            return anthropic.one(lambda: _card(gateway, name))
        return _json(_card(gateway, name))

    @router.delete("/v1/models/{name:path}")
    async def delete_model(name: str) -> Response:
        """Delete a model, its weights too, or a route; where the router allows it. A model that routes need stays."""
        await delete(gateway, store, _found(gateway, name), name)
        return _json({"id": name, "object": "model", "deleted": True})

    return router


def _found(gateway: Gateway, name: str) -> Record | Route:
    """Refusal 404."""
    route = gateway.route(name)
    return route if route is not None and gateway.model(name) is None else gateway.find(name)


def _id(gateway: Gateway, listed: Record | Route) -> str:
    """The shortest name that means it: of two with one name, the younger goes by its namespace too."""
    found = gateway.model(listed.name) if isinstance(listed, Record) else gateway.route(listed.name)
    return listed.name if found is not None and found.key == listed.key else listed.full_name


def _card(gateway: Gateway, name: str) -> Card:
    found = _found(gateway, name)
    return _record_card(found, name) if isinstance(found, Record) else _route_card(gateway, found, name)


def _record_card(record: Record, name: str) -> Card:
    return _one(record, name, [record])


def _route_card(gateway: Gateway, route: Route, name: str) -> Card:
    """A route in the lists: as long a context, and as much else, as all of its models take."""
    return _one(route, name, gateway.behind(route))


def _one(listed: Record | Route, name: str, records: Iterable[Record]) -> Card:
    records = list(records)
    lengths = [record.context_length for record in records if record.context_length]
    known = [record.status.capabilities for record in records]
    shared = [word for word in (known[0] if known else None) or () if all(word in (each or ()) for each in known)]
    card: Card = {"id": name, "object": "model", "created": int(listed.created), "owned_by": "dormouse"}
    if lengths:
        card["max_model_len"] = card["context_length"] = min(lengths)
    return {**card, "capabilities": shared}


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
