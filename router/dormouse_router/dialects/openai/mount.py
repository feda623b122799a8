"""OpenAI's routes: what `app.py` mounts."""

from fastapi import APIRouter
from fastapi.responses import Response
from starlette.requests import Request

from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.anthropic import cards as anthropic
from dormouse_router.dialects.openai import calls
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Dialect
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, store: ModelStore, settings: Settings) -> Dialect:
    """The dialect that also words what belongs to no other."""
    starts = {path: calls.Passed(gateway, settings, path, check) for path, check in calls.checks().items()}
    return Dialect("", refuse, {}, _models(gateway), starts)


def _models(gateway: Gateway) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])

    @router.head("/v1/models", include_in_schema=False)
    @router.get("/v1/models")
    async def list_models(request: Request) -> Response:
        """Every model and every route, asleep or awake. Listing wakes nothing."""
        cards = [calls.card(record, _id(gateway, record)) for record in gateway.models()]
        cards += [_route_card(gateway, route, _id(gateway, route)) for route in gateway.routes()]
        return _json(anthropic.page(cards) if anthropic.asked(request) else {"object": "list", "data": cards})

    @router.head("/v1/models/{name:path}", include_in_schema=False)
    @router.get("/v1/models/{name:path}")
    async def show_model(request: Request, name: str) -> Response:
        """One model, by any of its names, which may hold slashes."""
        if anthropic.asked(request):
            return anthropic.one(lambda: _card(gateway, name))
        return _json(_card(gateway, name))

    return router


def _id(gateway: Gateway, listed: Record | Route) -> str:
    """The shortest name that means it: of two with one name, the younger goes by its namespace too."""
    found = gateway.model(listed.name) if isinstance(listed, Record) else gateway.route(listed.name)
    return listed.name if found is not None and found.key == listed.key else listed.full_name


def _card(gateway: Gateway, name: str) -> dict[str, object]:
    route = gateway.route(name)
    if route is not None and gateway.model(name) is None:
        return _route_card(gateway, route, name)
    return calls.card(gateway.find(name), name)


def _route_card(gateway: Gateway, route: Route, name: str) -> dict[str, object]:
    """A route in the lists: as long a context as all of its models take."""
    lengths = [record.context_length for record in gateway.behind(route) if record.context_length]
    extra = {"max_model_len": min(lengths)} if lengths else {}
    return {"id": name, "object": "model", "created": int(route.created), "owned_by": "dormouse", **extra}


def _json(value: object) -> Response:
    return Response(calls.encode(value), media_type="application/json")
