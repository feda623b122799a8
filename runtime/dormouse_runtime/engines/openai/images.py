"""OpenAI's image routes over anything that draws. Knows no engine library.

One picture at a time: several of one call, and calls that come together, follow each other.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dormouse_runtime.engines.drawing import DrawingError, FlaggedError, Painter, UnfitError, Wish
from dormouse_runtime.engines.openai.asking import asked, enter
from dormouse_runtime.engines.openai.errors import ApiError, answer, install
from dormouse_runtime.engines.serving import Events, Held, add_status, unless_gone
from dormouse_runtime.engines.worker import Worker

MAX_BODY = 2**20
COMPLETED = "image_generation.completed"
UNCOUNTED = {
    "background": "opaque",
    "quality": "auto",
    "usage": {
        "input_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
        "output_tokens": 0,
        "total_tokens": 0,
    },
}
"""What OpenAI's own client wants of an event, and nobody counts here."""
MOST_PICTURES = 10
MOST_STEPS = 500
SMALLEST, LARGEST = 16, 4096
MOST_PIXELS = 12 * 2**20
"""Of all pictures of a call: as noise, and in base64, 48 MiB, which is less than routers gather of an answer."""
MOST_SEED = 2**63 - 1
DRAWN_SEEDS = 2**32
_SIZE = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


class ImagesRequest(BaseModel):
    """POST /v1/images/generations. What means nothing here (quality, style, user, ...) is ignored."""

    model_config = ConfigDict(extra="ignore")

    prompt: Annotated[str, Field(min_length=1, max_length=32_000)]
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=MOST_PICTURES)] = 1
    size: str = "auto"
    response_format: Literal["b64_json", "url"] = "b64_json"
    output_format: str = "png"
    stream: bool = False
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] | None = None
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=MOST_STEPS)] | None = None
    """diffusers' name of steps."""
    guidance_scale: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    negative_prompt: Annotated[str, Field(max_length=32_000)] | None = None

    @field_validator("n", "size", "response_format", "output_format", "stream", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value


@dataclass(frozen=True)
class Gallery:
    """The model behind the server."""

    name: str
    painter: Painter
    worker: Worker


def create_app(gallery: Gallery) -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None)
    install(app)
    add_status(app, gallery.worker)

    @app.post("/v1/images/generations")
    async def generations(request: Request) -> Response:
        body = await asked(request, ImagesRequest, MAX_BODY, "send a shorter prompt")
        wishes = wishes_of(gallery, body)
        enter(gallery.worker, "too many pictures are waiting to be drawn")
        held = Held(gallery.worker.leave)
        try:
            reply = _streamed if body.stream else _whole
            return await reply(gallery, wishes, request, held) or Response(status_code=499)
        finally:
            held.unless_taken()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [{"id": gallery.name, "object": "model", "owned_by": "dormouse"}]}

    return app


def wishes_of(gallery: Gallery, body: ImagesRequest) -> list[Wish]:
    """The pictures that are asked for. ApiError with the fix where they cannot be drawn."""
    if body.model not in (None, gallery.name):
        raise ApiError(404, f"The model '{body.model}' does not exist.", "invalid_request_error", "model_not_found")
    if body.response_format == "url":
        raise _bad("response_format", "no pictures are kept here, so they have no URLs: ask for b64_json")
    if body.output_format != "png":
        raise _bad("output_format", f"'{body.output_format}' is not made here: ask for png, or leave it out")
    width, height = size_of(body.size, gallery, body.n)
    seed = secrets.randbelow(DRAWN_SEEDS) if body.seed is None else body.seed
    return [
        Wish(
            prompt=body.prompt,
            width=width,
            height=height,
            seed=(seed + place) % (MOST_SEED + 1),
            negative_prompt=body.negative_prompt or None,
            steps=body.steps or body.num_inference_steps,
            guidance_scale=body.guidance_scale,
        )
        for place in range(body.n)
    ]


def size_of(size: str, gallery: Gallery, count: int) -> tuple[int, int]:
    """Width and height in pixels."""
    canvas = gallery.painter.canvas
    if size == "auto":
        return canvas.width, canvas.height
    found = _SIZE.fullmatch(size)
    if found is None:
        raise _bad("size", f"'{size[:40]}' is no size: write it as {canvas.width}x{canvas.height}, or auto")
    width, height = int(found[1]), int(found[2])
    least = -(-SMALLEST // canvas.multiple) * canvas.multiple
    most = LARGEST // canvas.multiple * canvas.multiple
    if not (least <= width <= most and least <= height <= most):
        raise _bad("size", f"{size}: each side must be {least} to {most} pixels")
    if width % canvas.multiple or height % canvas.multiple:
        near = f"{_near(width, canvas.multiple)}x{_near(height, canvas.multiple)}"
        raise _bad("size", f"{size}: both sides must be multiples of {canvas.multiple}: ask for {near}")
    if width * height * count > MOST_PIXELS:
        fewer = "a smaller size" if count == 1 else "a smaller size or a smaller n"
        raise _bad("size", f"{count} x {size} are more than {MOST_PIXELS} pixels: ask for {fewer}")
    return width, height


def _near(side: int, multiple: int) -> int:
    """The nearest side that can be drawn."""
    return max(1, round(side / multiple)) * multiple


async def _whole(gallery: Gallery, wishes: list[Wish], request: Request, _: Held) -> Response | None:
    """All pictures at once; None where the client left."""

    async def drawn() -> list[dict[str, Any]]:
        return [await _draw(gallery, wish) for wish in wishes]

    data = await unless_gone(request, drawn())
    return None if data is None else JSONResponse({"created": int(time.time()), "output_format": "png", "data": data})


async def _streamed(gallery: Gallery, wishes: list[Wish], request: Request, held: Held) -> Response | None:
    """An event for each picture. The first is drawn before the head goes out: until then an error has its status."""
    first = await unless_gone(request, _draw(gallery, wishes[0]))
    return None if first is None else Events(_events(gallery, wishes, first), held.take())


async def _events(gallery: Gallery, wishes: list[Wish], first: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    """`first` is the picture of the first wish."""
    size = f"{wishes[0].width}x{wishes[0].height}"
    yield _completed({**first, "size": size})
    try:
        for wish in wishes[1:]:
            yield _completed({**await _draw(gallery, wish), "size": size})
    except ApiError as error:
        yield b"data: " + bytes(answer(error).body) + b"\n\n"


def _completed(picture: dict[str, Any]) -> bytes:
    fields = {"type": COMPLETED, "created_at": int(time.time()), "output_format": "png", **UNCOUNTED, **picture}
    return f"event: {COMPLETED}\ndata: {json.dumps(fields)}\n\n".encode()


async def _draw(gallery: Gallery, wish: Wish) -> dict[str, Any]:
    """One picture, as it is told. ApiError where there is none."""
    try:
        picture = await gallery.worker.run(partial(gallery.painter.draw, wish))
    except UnfitError as error:
        raise ApiError(400, str(error)) from error
    except FlaggedError as error:
        raise ApiError(400, str(error), "image_generation_user_error", "content_policy_violation") from error
    except DrawingError as error:
        raise ApiError(500, str(error), "server_error", "engine_failed") from error
    return {"b64_json": base64.b64encode(picture).decode(), "seed": wish.seed}


def _bad(field: str, words: str) -> ApiError:
    return ApiError(400, f"{field}: {words}", param=field)
