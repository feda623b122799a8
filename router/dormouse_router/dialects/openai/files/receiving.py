"""A body that streams into the file store: a form's file, in pieces, never whole in memory, and early refusals.

A client that leaves, a form that is none and a file that is too large end the writing, of which nothing stays.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

from starlette.requests import ClientDisconnect, Request

from dormouse_router.dialects.openai.files.form import Form, malformed
from dormouse_router.inflate import MOST, inflated
from dormouse_router.request import Refusal

OVERHEAD = 64 * 1024
"""Bytes that a form may have beside its file: it is refused by its length before anything of it is read."""
MOST_AT_ONCE = 32
"""Files that one router takes at once: each has some blocks in memory."""
MOST_BODY = 1024 * 1024
CLIENT_LEFT = 499
CRUMBS, CRUMB = 16_384, 64
"""Pieces of a body that may have fewer bytes than this on average: each costs as much as a large one."""


class Sink(Protocol):
    """What takes the file's bytes."""

    @property
    def size(self) -> int: ...

    async def write(self, chunk: bytes) -> None: ...


class Arrivals:
    """How many files arrive now."""

    def __init__(self, most: int = MOST_AT_ONCE) -> None:
        self._most, self._count = most, 0

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Refusal 503 where too many do."""
        if self._count >= self._most:
            text = "Too many files arrive at once: send the request again."
            raise Refusal(503, text, code="router_overloaded", retry_after=1.0)
        self._count += 1
        try:
            yield
        finally:
            self._count -= 1


def checked_length(request: Request, most: int) -> None:
    """Refusal 413 where the body says itself that it is too large."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > most + OVERHEAD:
        raise too_large(most)


async def receive(request: Request, form: Form, sink: Sink, look: Callable[[], int]) -> None:
    """The body into `form`, its file into `sink`. `look` says after each piece how many bytes the file may have, as far
    as the fields tell so far; it refuses. Refusal 400, 413, 415; ClientDisconnect."""
    read = fed = 0
    async for data in _decoded(request, look()):
        read += len(data)
        fed += 1
        if fed > CRUMBS and read < fed * CRUMB:
            raise Refusal(400, "The body comes in chunks of a few bytes each: send it in larger ones.")
        for piece in form.feed(data):
            await sink.write(piece)
        most = look()
        if sink.size > most or read > most + OVERHEAD:
            raise too_large(most)
    form.end()


def too_large(most: int) -> Refusal:
    text = f"The file is too large: it may have at most {most} bytes here."
    return Refusal(413, text, code="file_too_large", param="file")


async def _decoded(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body's pieces; one that is compressed is small, and inflated whole within the bounds of all such bodies."""
    coding = request.headers.get("content-encoding", "identity").lower()
    if coding == "identity":
        async for piece in request.stream():
            if piece:
                yield piece
        return
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST:
            raise Refusal(413, f"A compressed body may have at most {MOST} bytes: send it as it is.")
    plain = await asyncio.to_thread(inflated, bytes(body), coding.encode("latin-1"), most + OVERHEAD)
    for at in range(0, len(plain), OVERHEAD):
        yield plain[at : at + OVERHEAD]


async def small(request: Request) -> bytes:
    """The whole of a small body. Refusal 413."""
    body = bytearray()
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > MOST_BODY:
                raise Refusal(413, f"The request body is larger than {MOST_BODY} bytes: send a smaller one.")
    except ClientDisconnect:
        raise Refusal(CLIENT_LEFT, "The client left.") from None
    return bytes(body)


def form_of(request: Request, file: str) -> Form:
    """The form that the request's head announces. Refusal 400."""
    said = request.headers.getlist("content-type")
    if len(said) != 1:
        raise malformed("This call takes a form: send multipart/form-data with a boundary.", "invalid_content_type")
    return Form(said[0], file)
