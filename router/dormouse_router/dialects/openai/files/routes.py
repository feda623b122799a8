"""Files: uploaded, listed, shown, read, deleted. Nothing here wakes a model."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response, StreamingResponse
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request

from dormouse_router.dialects.openai.errors import refuse
from dormouse_router.dialects.openai.files import objects, purposes, ranges
from dormouse_router.dialects.openai.files.receiving import CLIENT_LEFT, Arrivals, checked_length, form_of, receive
from dormouse_router.filing import FileRecord, Files
from dormouse_router.keeping import headers_owner
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

VERSION = {"openai-version": "2020-10-01"}
MOST_LISTED = 10_000
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]


def routes(files: Files, settings: Settings, arrivals: Arrivals) -> APIRouter:
    """What is below /v1/files."""
    router = APIRouter(prefix="/v1/files", tags=["OpenAI"])

    @router.post("")
    async def create(request: Request) -> Response:
        """Upload a file."""
        with arrivals.one(), contextlib.suppress(ClientDisconnect):
            return json(objects.file(await _created(request, files, settings)))
        return Response(status_code=CLIENT_LEFT)

    @router.get("")
    async def list_files(
        request: Request,
        purpose: str | None = None,
        limit: Limit = MOST_LISTED,
        order: Literal["asc", "desc"] = "desc",
        after: str | None = None,
    ) -> Response:
        """The caller's files, page by page."""
        owner = headers_owner(request.headers)
        found = await files.page(owner, purpose, after or None, limit + 1, newest_first=order == "desc")
        if found is None:
            text = f"Invalid value for 'after': there is no file '{(after or '')[:80]}' any more: begin without it."
            raise Refusal(400, text, code="invalid_value", param="after")
        return json(objects.page(found, limit))

    @router.get("/{file_id}")
    async def show(request: Request, file_id: str) -> Response:
        """One file, without its bytes."""
        return json(objects.file(await _found(files, request, file_id)))

    @router.get("/{file_id}/content")
    async def content(request: Request, file_id: str) -> Response:
        """Its bytes, or some of them."""
        record = await _found(files, request, file_id)
        return await _content(files, record, request.headers)

    @router.delete("/{file_id}")
    async def delete(request: Request, file_id: str) -> Response:
        """Delete a file."""
        if not await files.delete(file_id, headers_owner(request.headers)):
            raise objects.no_file(file_id)
        return json({"id": file_id, "object": "file", "deleted": True})

    return router


def json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json", headers=VERSION)


async def _found(files: Files, request: Request, ident: str) -> FileRecord:
    record = await files.get(ident, headers_owner(request.headers))
    if record is None:
        raise objects.no_file(ident)
    return record


async def _created(request: Request, files: Files, settings: Settings) -> FileRecord:
    checked_length(request, settings.file_bytes)
    form = form_of(request, "file")
    owner = headers_owner(request.headers)

    def look() -> int:
        """Whatever can be refused by now is."""
        purpose = form.fields.get("purpose") if form.filename is not None else None
        if purpose is not None:
            purposes.named(form.filename or "", purposes.checked(purpose))
        return purposes.most(purpose, settings, settings.file_bytes)

    async with files.writing(owner, settings.file_bytes) as writer:
        await receive(request, form, writer, look)
        if form.filename is None:
            raise Refusal(400, "'file' is a required property", code="missing_required_parameter", param="file")
        return await writer.commit(purposes.draft(owner, form.filename, form.fields))


async def _content(files: Files, record: FileRecord, asked: Headers) -> Response:
    etag = f'"{record.sha256}"'
    wanted = asked.get("range") if asked.get("if-range", etag) == etag else None
    try:
        span = ranges.asked(wanted, record.bytes)
    except Refusal as refusal:
        reply = refuse(refusal)
        # by this curl and wget know that they have all of it already
        said = {name.decode(): value.decode() for name, value in reply.headers}
        return Response(reply.body, reply.status, said | {"content-range": f"bytes */{record.bytes}"})
    start, stop = span or (0, record.bytes)
    headers = VERSION | {
        "content-length": str(stop - start),
        "content-disposition": ranges.disposition(record.filename),
        "accept-ranges": "bytes",
        "etag": etag,
        "x-content-type-options": "nosniff",
    }
    if span is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{record.bytes}"
    pieces = files.read(record, start, stop)
    # the first piece before the head: what cannot be read has its true status
    first = await anext(pieces, b"")
    status = 200 if span is None else 206
    return StreamingResponse(_all(first, pieces), status, headers, media_type="application/octet-stream")


async def _all(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(rest):
        yield first
        async for piece in rest:
            yield piece
