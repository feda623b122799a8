"""Uploads: a file in parts, for what is too large for one request."""

import contextlib
from typing import Annotated, TypeVar

import msgspec
from fastapi import APIRouter
from fastapi.responses import Response
from msgspec import Meta, Struct
from starlette.requests import ClientDisconnect, Request

from dormouse_router.dialects.openai.files import objects, purposes
from dormouse_router.dialects.openai.files.receiving import (
    CLIENT_LEFT,
    Arrivals,
    checked_length,
    form_of,
    receive,
    small,
)
from dormouse_router.dialects.openai.files.routes import json
from dormouse_router.filing import PENDING, Draft, Files, PartRecord, UploadRecord, Uploads
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal
from dormouse_router.settings import MIB, Settings

MOST_PART = 64 * MIB
MOST_PARTS = 10_000
S = TypeVar("S", bound=Struct)


class ExpiresAfter(Struct):
    """When the file expires."""

    anchor: str
    seconds: int


class UploadRequest(Struct):
    """What POST /v1/uploads takes."""

    bytes: Annotated[int, Meta(ge=1)]
    filename: Annotated[str, Meta(min_length=1, max_length=1024)]
    mime_type: Annotated[str, Meta(max_length=255)]
    purpose: str
    expires_after: ExpiresAfter | None = None


class CompleteRequest(Struct):
    """What POST /v1/uploads/ID/complete takes."""

    part_ids: Annotated[list[str], Meta(min_length=1, max_length=MOST_PARTS)]
    md5: str | None = None


def routes(uploads: Uploads, files: Files, settings: Settings, arrivals: Arrivals) -> APIRouter:
    """What is below /v1/uploads."""
    router = APIRouter(prefix="/v1/uploads", tags=["OpenAI"])

    @router.post("")
    async def create(request: Request) -> Response:
        """Announce a file that comes in parts."""
        asked = await _body(request, UploadRequest)
        made = await uploads.create(_draft(request, asked, settings), asked.bytes, asked.mime_type)
        return json(objects.upload(made))

    @router.post("/{upload_id}/parts")
    async def add_part(request: Request, upload_id: str) -> Response:
        """Send a part."""
        with arrivals.one(), contextlib.suppress(ClientDisconnect):
            return json(objects.part(await _part(request, uploads, upload_id)))
        return Response(status_code=CLIENT_LEFT)

    @router.post("/{upload_id}/complete")
    async def complete(request: Request, upload_id: str) -> Response:
        """Make the file of its parts; asked again, as clients do whose answer was lost, say which it is."""
        asked = await _body(request, CompleteRequest)
        owner = headers_owner(request.headers)
        known = await uploads.get(upload_id, owner)
        if known is not None and known.file_id is not None and (made := await files.get(known.file_id, owner)):
            return json(objects.upload(known, made))
        upload = await _pending(uploads, request, upload_id, "complete")
        return json(objects.upload(*await uploads.complete(upload, asked.part_ids, asked.md5)))

    @router.post("/{upload_id}/cancel")
    async def cancel(request: Request, upload_id: str) -> Response:
        """Give it up: its parts go."""
        return json(objects.upload(await uploads.cancel(await _pending(uploads, request, upload_id, "cancel"))))

    return router


def _draft(request: Request, asked: UploadRequest, settings: Settings) -> Draft:
    purpose = purposes.checked(asked.purpose)
    most = purposes.most(purpose, settings, settings.upload_bytes)
    if asked.bytes > most:
        text = f"Invalid 'bytes': a file for '{purpose}' may have at most {most} bytes here."
        raise Refusal(400, text, code="invalid_value", param="bytes")
    after = asked.expires_after
    lives = purposes.life({}, purpose) if after is None else purposes.lasting(after.anchor, after.seconds)
    return Draft(headers_owner(request.headers), purposes.named(asked.filename, purpose), purpose, lives)


async def _part(request: Request, uploads: Uploads, upload_id: str) -> PartRecord:
    checked_length(request, MOST_PART)
    upload = await _pending(uploads, request, upload_id, "add a part to")
    form = form_of(request, "data")
    async with uploads.writing(upload, MOST_PART) as writer:
        await receive(request, form, writer, lambda: MOST_PART)
        if form.filename is None:
            raise Refusal(400, "'data' is a required property", code="missing_required_parameter", param="data")
        return await writer.commit()


async def _pending(uploads: Uploads, request: Request, ident: str, what: str) -> UploadRecord:
    found = await uploads.get(ident, headers_owner(request.headers))
    if found is None:
        raise Refusal(404, f"No such Upload object: {ident[:80]}", param="upload_id")
    if found.status != PENDING:
        text = f"Cannot {what} an upload with status '{found.status}': make another one."
        raise Refusal(400, text, code="invalid_upload_status")
    return found


async def _body(request: Request, kind: type[S]) -> S:
    """The JSON of a small body. Refusal 400, 413."""
    try:
        return msgspec.json.decode(await small(request), type=kind)
    except msgspec.ValidationError as error:
        words, _, place = str(error).partition(" - at `$.")
        param = place.rstrip("`") or None
        raise Refusal(400, f"Invalid request: {words}.", code="invalid_value", param=param) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"We could not parse the JSON body of your request: {error}.") from None
