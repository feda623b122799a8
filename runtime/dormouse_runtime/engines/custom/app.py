"""The HTTP server of a custom model: its schema, predictions whole and streamed, errors in the native API's shape."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from dormouse_runtime.engines.custom.loading import Loaded, unload
from dormouse_runtime.engines.custom.predicting import Piece, PredictError, WrongInputError, check, pieces
from dormouse_runtime.engines.custom_args import SCHEMA_PATH
from dormouse_runtime.engines.serving import Events, Held, TooLargeError, add_status, unless_gone, whole_body
from dormouse_runtime.engines.worker import FullError, Left, Worker

MAX_BODY = 64 * 2**20
"""Files come inside, as base64."""


class ApiError(Exception):
    """A refusal: `{"error": message, ...}` with this status."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.fields = status, {"error": message, **more}


@dataclass(frozen=True)
class Offered:
    """The model behind the server."""

    name: str
    served: Loaded
    worker: Worker


@dataclass(frozen=True)
class Asked:
    """A prediction that is asked for."""

    given: Any
    stream: bool


def create_app(offered: Offered) -> FastAPI:
    """The application. When the server has answered its last call, the class is unloaded."""

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await offered.worker.run(lambda _: unload(offered.served))

    app = FastAPI(openapi_url=None, lifespan=life)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _http_error)
    add_status(app, offered.worker)

    @app.get(SCHEMA_PATH)
    async def schema() -> dict[str, Any]:
        return {"input": offered.served.input_schema, "output": offered.served.output_schema}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        asked = await _read(request)
        try:
            # in a thread of its own: a large input takes seconds, and the server answers others meanwhile
            await asyncio.to_thread(check, offered.served, asked.given)
            offered.worker.enter()
        except FullError:
            raise ApiError(429, "too many predictions are waiting: try again in a moment") from None
        except WrongInputError as wrong:
            raise _wrong(wrong) from None
        answer = _streamed if asked.stream else _whole
        held = Held(offered.worker.leave)
        try:
            return await answer(offered, asked, request, held)
        except WrongInputError as wrong:
            raise _wrong(wrong) from None
        except PredictError as error:
            raise ApiError(500, str(error)) from None
        finally:
            held.unless_taken()

    return app


async def _read(request: Request) -> Asked:
    try:
        body = json.loads(await whole_body(request, MAX_BODY))
    except TooLargeError:
        raise ApiError(413, f"the body is larger than {MAX_BODY} bytes") from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(body, dict) or "input" not in body:
        raise ApiError(400, 'say what to predict from: {"input": {...}}', param="input")
    if not isinstance(stream := body.get("stream") or False, bool):
        raise ApiError(400, "stream must be true or false", param="stream")
    return Asked(body["input"], stream)


async def _whole(offered: Offered, asked: Asked, request: Request, _: Held) -> Response:
    began = time.monotonic()

    def work(left: Left) -> list[Piece]:
        made = []
        for piece in pieces(offered.served, asked.given):
            made.append(piece)
            if left():
                break
        return made

    made = await unless_gone(request, offered.worker.run(work))
    if made is None:
        return Response(status_code=499)
    many = len(made) != 1 or made[0].one_of_many
    output = b"[" + b",".join(piece.json for piece in made) + b"]" if many else made[0].json
    told = {"model": offered.name, "seconds": round(time.monotonic() - began, 6)}
    return Response(json.dumps(told)[:-1].encode() + b',"output":' + output + b"}", media_type="application/json")


async def _streamed(offered: Offered, asked: Asked, request: Request, held: Held) -> Response:
    """The first piece is awaited before the head goes out: until then an error has its status."""
    began = time.monotonic()
    rest = offered.worker.each(pieces(offered.served, asked.given))
    try:
        first = await unless_gone(request, _first(rest))
    except BaseException:
        await rest.aclose()
        raise
    if first is None:
        return Response(status_code=499)
    return Events(_events(first, rest, began), held.take())


async def _first(rest: AsyncGenerator[Piece, None]) -> tuple[Piece, ...]:
    """The next piece; none where there is no more."""
    piece = await anext(rest, None)
    return () if piece is None else (piece,)


async def _events(
    first: tuple[Piece, ...], rest: AsyncGenerator[Piece, None], began: float
) -> AsyncGenerator[bytes, None]:
    try:
        for piece in first:
            yield b'data: {"output":' + piece.json + b"}\n\n"
        async for piece in rest:
            yield b'data: {"output":' + piece.json + b"}\n\n"
        # of an iterator that had one piece the answer is a list of one
        listed = not first or first[0].one_of_many
        yield _event({"done": True, "seconds": round(time.monotonic() - began, 6), "list": listed})
    except WrongInputError as wrong:
        yield _event({"error": str(wrong), "status": 422})
    except PredictError as error:
        yield _event({"error": str(error), "status": 500})
    finally:
        await rest.aclose()


def _event(fields: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def _wrong(error: WrongInputError) -> ApiError:
    path, words = error.faults[0]
    faults = [{"path": path, "message": words} for path, words in error.faults]
    return ApiError(422, f"{path}: {words}", param=path, errors=faults)


async def _api_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)  # noqa: S101 - registered for this type only
    headers = {"Retry-After": "1"} if error.status == 429 else None
    return JSONResponse(error.fields, error.status, headers)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    return JSONResponse({"error": str(error.detail)}, error.status_code)
