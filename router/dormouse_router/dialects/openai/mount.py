"""OpenAI's routes: what `app.py` mounts."""

from fastapi import APIRouter
from fastapi.responses import Response

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.openai import calls
from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.gateway import Dialect, Gateway, ModelStore, Refusal
from dormouse_router.settings import Settings


def dialect(gateway: Gateway, store: ModelStore, settings: Settings) -> Dialect:
    """The dialect that also words what belongs to no other."""
    posts = {path: calls.Passed(gateway, settings, path, check) for path, check in calls.checks().items()}
    return Dialect("", refuse, posts, _models(gateway))


def _models(gateway: Gateway) -> APIRouter:
    router = APIRouter(tags=["OpenAI"])

    @router.head("/v1/models", include_in_schema=False)
    @router.get("/v1/models")
    async def list_models() -> Response:
        """Every model, asleep or awake. Listing wakes nothing."""
        cards = [calls.card(record, _id(gateway, record)) for record in gateway.models()]
        return _json({"object": "list", "data": cards})

    @router.head("/v1/models/{name:path}", include_in_schema=False)
    @router.get("/v1/models/{name:path}")
    async def show_model(name: str) -> Response:
        """One model, by any of its names, which may hold slashes."""
        return _json(calls.card(gateway.find(name), name))

    return router


def _id(gateway: Gateway, record: Record) -> str:
    """The shortest name that means this model: of two with one name, the younger goes by its namespace too."""
    try:
        mine = gateway.find(record.name).key == record.key
    except Refusal:
        mine = False
    return record.name if mine else record.full_name


def _json(value: object) -> Response:
    return Response(calls.encode(value), media_type="application/json")
