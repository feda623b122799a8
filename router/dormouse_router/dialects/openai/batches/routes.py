"""Batches: made, shown, listed, cancelled. Nothing here reads a file or wakes a model."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response
from starlette.requests import Request

from dormouse_router.batch.endpoints import known
from dormouse_router.batch.lifecycle import NO_RIGHTS, Rights, TransitionError
from dormouse_router.batching import Batches
from dormouse_router.caller import Caller, current
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.openai.batches import objects, requests
from dormouse_router.dialects.openai.files.receiving import small
from dormouse_router.dialects.openai.files.routes import json
from dormouse_router.gateway import Gateway
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

MOST_LISTED, LISTED = 100, 20
AWAKE, GONE = "Awake", "Gone"
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]


def routes(batches: Batches, gateway: Gateway, settings: Settings, now: Callable[[], float] = time.time) -> APIRouter:
    """What is below /v1/batches."""
    router = APIRouter(prefix="/v1/batches", tags=["OpenAI"])
    endpoints = tuple(known(settings.batch_scores))

    @router.post("")
    async def create(request: Request) -> Response:
        """Have the requests of a file answered."""
        owner, repeat = headers_owner(request.headers), request.headers.get("idempotency-key")
        draft = requests.draft(await small(request), owner, endpoints, repeat)
        return json(objects.batch(await batches.create(replace(draft, rights=rights(current())))))

    @router.get("")
    async def list_batches(request: Request, after: str | None = None, limit: Limit = LISTED) -> Response:
        """The caller's batches, newest first."""
        found = await batches.page(headers_owner(request.headers), after or None, limit + 1)
        if found is None:
            text = f"Invalid value for 'after': there is no batch '{(after or '')[:80]}'."
            raise Refusal(400, text, code="invalid_value", param="after")
        return json(objects.page(found, limit))

    @router.get("/{batch_id}")
    async def show(request: Request, batch_id: str) -> Response:
        """One batch, and how it goes."""
        owner = headers_owner(request.headers)
        found = await batches.get(batch_id, owner)
        if found is None:
            raise objects.no_batch(batch_id)
        progress, attended = await batches.progress(found), found.ended or await batches.attended()
        states = {each.model: _state(gateway, each.model, gateway.caller(owner)) for each in progress.models}
        told = objects.progress(found, progress, now(), states, attended=attended)
        return json(objects.batch(found) | {"dormouse": told})

    @router.post("/{batch_id}/cancel")
    async def cancel(request: Request, batch_id: str) -> Response:
        """Have nothing more of it answered."""
        try:
            found = await batches.cancel(batch_id, headers_owner(request.headers))
        except TransitionError as error:
            raise Refusal(409, str(error), code="conflict") from None
        if found is None:
            raise objects.no_batch(batch_id)
        return json(objects.batch(found))

    return router


def rights(caller: Caller | None) -> Rights:
    """What goes with a batch that `caller` makes; the tightest of its limits."""
    if caller is None:
        return NO_RIGHTS
    mosts = [each.enqueued for each in caller.limits.values() if each.enqueued is not None]
    return Rights(tuple(sorted(caller.teams)), min(mosts, default=None))


def _state(gateway: Gateway, name: str, caller: Caller) -> str:
    """What the model is doing; of a route, the first of its models."""
    found = gateway.look_up(name, caller)
    records = gateway.behind(found) if isinstance(found, Route) else [] if found is None else [found]
    if not records:
        return GONE
    return AWAKE if any(gateway.awake(record) for record in records) else records[0].stage
