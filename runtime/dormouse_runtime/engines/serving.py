"""What the servers of engines without vLLM share: status routes, bounded bodies, and clients that leave.

Knows no engine library and no dialect: how an error is worded is the server's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from dormouse_runtime.engines.worker import Worker

T = TypeVar("T")
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


class TooLargeError(Exception):
    """A body beyond its bound."""


def add_status(app: FastAPI, worker: Worker) -> None:
    """`/health`, `/load` and `/metrics`. The queue has vLLM's names: autoscaling and lists read these of any engine."""

    @app.get("/health")
    async def health() -> PlainTextResponse:
        return PlainTextResponse("")

    @app.get("/load")
    async def load() -> dict[str, int]:
        return {"server_load": worker.in_flight}

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        waiting = worker.in_flight - worker.running
        lines = [f"vllm:num_requests_running {worker.running}", f"vllm:num_requests_waiting {waiting}", ""]
        return PlainTextResponse("\n".join(lines), media_type=EXPOSITION)


async def whole_body(request: Request, most: int) -> bytes:
    """The body; TooLargeError beyond `most` bytes."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most:
            raise TooLargeError
    return bytes(body)


async def unless_gone(request: Request, work: Awaitable[T]) -> T | None:
    """The result, or None where the client left: then the work is cancelled, and its end awaited."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait([task, gone], return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait([task])


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Held:
    """A call's place in the line: given back when its handler ends, unless a stream has taken it along."""

    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave: Callable[[], None] | None = leave

    def take(self) -> Callable[[], None]:
        """The way to give it back, once."""
        leave, self._leave = self._leave, None
        assert leave is not None  # noqa: S101 - taken once
        return leave

    def unless_taken(self) -> None:
        if self._leave is not None:
            self._leave()


class Events(StreamingResponse):
    """Server-sent events. However it ends, a client that left included, the generator is closed and `done` called."""

    def __init__(self, events: AsyncGenerator[bytes, None], done: Callable[[], None]) -> None:
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._events, self._done = events, done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            try:
                await self._events.aclose()
            finally:
                self._done()
