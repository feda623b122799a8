"""Deleting what a client names: a model, or a route over models. The same for every dialect that may."""

from dormouse_router.access.rules import ROUTER
from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.gateway import Gateway, ModelStore
from dormouse_router.request import Refusal


async def delete(gateway: Gateway, store: ModelStore, found: Record | Route, name: str, caller: Caller) -> None:
    """Delete what is called `name`. Refusal 409 where routes need it, 400 of an adapter, and as from the store."""
    if isinstance(found, Route):
        await store.delete_route(found)
        return
    if found.adapter is not None:
        text = f"'{name}' is an adapter of the model '{found.name}': take it out of the InferenceModel's spec.adapters"
        raise Refusal(400, text, code="unsupported")
    users = [r.full_name for r in gateway.routes(ROUTER) if r.namespace == found.namespace and found.name in r.models]
    if users:
        # Ollama keeps the layers that others share; here they would be left without weights
        text = f"model '{name}' is what {', '.join(users)} answer with: delete these first"
        raise Refusal(409, text, code="conflict")
    await store.delete(found, caller)
