"""What is asked of answers later: read, followed, deleted, cancelled, and what was sent for them."""

from collections.abc import AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.requests import Request

from dormouse_router.dialects.openai.responses.answer import replay
from dormouse_router.dialects.openai.responses.background import Background
from dormouse_router.dialects.openai.responses.items import Kept
from dormouse_router.dialects.openai.responses.kept import Keeper
from dormouse_router.dialects.openai.responses.objects import UNFINISHED
from dormouse_router.dialects.openai.responses.requests import bad_value
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal

MOST_ITEMS = 100
_VERSION = {"openai-version": "2020-10-01"}
_STREAM = _VERSION | {"cache-control": "no-cache", "x-accel-buffering": "no"}
Limit = Annotated[int, Query(ge=1, le=MOST_ITEMS)]
Number = Annotated[int, Query(ge=0)]


def routes(keeper: Keeper, background: Background) -> APIRouter:
    """The routes below /v1/responses/ID."""
    router = APIRouter(prefix="/v1/responses", tags=["OpenAI"])

    @router.get("/{response_id}")
    async def retrieve(
        request: Request, response_id: str, stream: bool = False, starting_after: Number | None = None
    ) -> Response:
        """A response that is kept, as it is now, or its events."""
        owner = headers_owner(request.headers)
        response = await keeper.find(response_id, owner)
        if not stream:
            return _json(response)
        job = background.find(response_id, owner)
        if job is not None and job.followed:
            return _events(job.events(0 if starting_after is None else starting_after + 1))
        if response["status"] in UNFINISHED:
            raise bad_value("stream", "its events are not kept here: it was not made with stream, or by another router")
        if starting_after is not None:
            raise bad_value("starting_after", "it is finished, and its events were numbered anew: leave it out")
        return _events(_once(replay(response)))

    @router.delete("/{response_id}")
    async def delete(request: Request, response_id: str) -> Response:
        """Forget a response. One that is still made is cancelled."""
        owner = headers_owner(request.headers)
        await keeper.delete(response_id, owner)
        job = background.find(response_id, owner)
        if job is not None:
            await background.cancel(job)
        return _json({"id": response_id, "object": "response", "deleted": True})

    @router.post("/{response_id}/cancel")
    async def cancel(request: Request, response_id: str) -> Response:
        """End a response that is made in the background; one that has ended stays as it is."""
        owner = headers_owner(request.headers)
        response = await keeper.find(response_id, owner)
        if not response["background"]:
            raise Refusal(400, "Cannot cancel a synchronous response: only those made in the background can be.")
        job = background.find(response_id, owner)
        if job is not None:
            await background.cancel(job)
            return _json(job.response)
        return _json(await keeper.cancel(response_id, owner))

    @router.get("/{response_id}/input_items")
    async def input_items(
        request: Request,
        response_id: str,
        limit: Limit = 20,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
        before: str | None = None,
    ) -> Response:
        """What was sent for a response, page by page."""
        found = await keeper.input_items(response_id, headers_owner(request.headers))
        ordered = found if order == "asc" else found[::-1]
        return _json(page(ordered, limit, after, before))

    return router


def page(found: list[Kept], limit: int, after: str | None, before: str | None) -> dict[str, object]:
    """At most `limit` items between two others."""
    names = [item["id"] for item in found]
    first = 0 if after is None else _index(names, after, "after") + 1
    last = len(found) if before is None else _index(names, before, "before")
    shown = found[first:last][:limit]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = first + len(shown) < last
    return {"object": "list", "data": shown, "first_id": ends[0], "last_id": ends[1], "has_more": more}


def _index(names: list[str], name: str, param: str) -> int:
    try:
        return names.index(name)
    except ValueError:
        raise bad_value(param, f"'{name[:80]}' is no item of this response") from None


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=_VERSION)


def _events(events: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream; charset=utf-8", headers=_STREAM)


async def _once(out: bytes) -> AsyncIterator[bytes]:
    yield out
