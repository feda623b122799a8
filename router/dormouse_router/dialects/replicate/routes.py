"""What is asked of predictions once they are made, and of the secret that signs their webhooks. Wakes nothing."""

import time
from typing import Annotated

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from msgspec import Meta, Struct
from starlette.requests import Request

from dormouse_router.dialects.replicate import follow, objects
from dormouse_router.dialects.replicate.addresses import base_of
from dormouse_router.dialects.replicate.desk import Desk
from dormouse_router.dialects.replicate.errors import invalid
from dormouse_router.keeping import Keeping, headers_owner
from dormouse_router.notifying import Keys
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

PAGE = 100
"""Predictions of a page; fewer where they are large."""
TAGS: list[str] = ["Replicate"]
LONGEST_RETIRING = 30 * 86400
_STREAM = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class RotateRequest(Struct):
    """POST /v1/webhooks/default/secret."""

    expires_in: Annotated[int, Meta(ge=0, le=LONGEST_RETIRING)] = 86400
    """Seconds that the secret before it signs as well."""


def predictions(keeping: Keeping, desk: Desk, settings: Settings) -> APIRouter:
    """What is below /v1/predictions."""
    router = APIRouter(prefix=objects.PATH, tags=[*TAGS])

    def shown(request: Request, prediction: objects.Object) -> Response:
        return _json(objects.told(prediction, _base(request, settings)))

    @router.get("")
    async def list_predictions(request: Request, cursor: str | None = None) -> Response:
        """The caller's predictions, the newest first, page by page."""
        owner = headers_owner(request.headers)
        before = None if cursor is None else objects.place(cursor)
        rows, more = await keeping.predictions.page(owner, before, PAGE)
        return _json(objects.page(rows, more, _base(request, settings)))

    @router.get("/{prediction_id}")
    async def show(request: Request, prediction_id: str) -> Response:
        """A prediction as it is now."""
        return shown(request, await desk.now(prediction_id, headers_owner(request.headers)))

    @router.post("/{prediction_id}/cancel")
    async def cancel(request: Request, prediction_id: str) -> Response:
        """End a prediction; one that has ended stays as it is."""
        return shown(request, await desk.cancel(prediction_id, headers_owner(request.headers)))

    @router.get("/{prediction_id}/stream")
    async def stream(request: Request, prediction_id: str) -> Response:
        """A prediction's output and logs, as they come."""
        owner = headers_owner(request.headers)
        await desk.now(prediction_id, owner)
        told = follow.place(request.headers.get("last-event-id"))
        events = follow.events(desk, prediction_id, owner, told)
        return StreamingResponse(events, headers=_STREAM, media_type="text/event-stream; charset=utf-8")

    return router


def secrets(keeping: Keeping) -> APIRouter:
    """What is below /v1/webhooks."""
    router = APIRouter(prefix="/v1/webhooks/default/secret", tags=[*TAGS])

    @router.get("")
    async def show(request: Request) -> Response:
        """The secret that signs the caller's webhooks."""
        return _secret(await keeping.webhooks.keys(headers_owner(request.headers)))

    @router.post("")
    async def rotate(request: Request) -> Response:
        """Make a new one; the one before it signs as well for a while."""
        try:
            wish = msgspec.json.decode(await request.body(), type=RotateRequest)
        except msgspec.ValidationError as error:
            raise invalid("expires_in", f"expires_in: {error}") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            text = f'The body is not valid JSON: {error}. Send {{}}, or {{"expires_in": seconds}}.'
            raise Refusal(400, text) from error
        until = time.time() + wish.expires_in
        return _secret(await keeping.webhooks.rotate(headers_owner(request.headers), until))

    return router


def _secret(keys: Keys) -> Response:
    return _json({"key": keys.current}, {"cache-control": "no-store"})


def _base(request: Request, settings: Settings) -> str:
    def header(name: bytes) -> bytes | None:
        value = request.headers.get(name.decode())
        return None if value is None else value.encode("latin-1")

    return base_of(header, settings.public_url)


def _json(value: object, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=headers)
