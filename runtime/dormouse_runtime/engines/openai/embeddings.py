"""OpenAI's embeddings route over anything that embeds. Knows no engine library.

One call at a time in the model's thread; the texts of a call are batched there.
"""

from __future__ import annotations

import base64
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, field_validator

from dormouse_runtime.engines.openai.asking import asked, enter
from dormouse_runtime.engines.openai.errors import ApiError, install
from dormouse_runtime.engines.serving import add_status, unless_gone
from dormouse_runtime.engines.worker import Left, Worker

MAX_BODY = 16 * 2**20
MOST_TEXTS = 2048
Tokens = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1, max_length=2**20)]


class Embedder(Protocol):
    """Makes vectors of texts."""

    max_model_len: int

    def encode(self, text: str) -> list[int]:
        """Token ids, with the special tokens the model was made for."""

    def embed(self, prompts: Sequence[list[int]], left: Left) -> list[list[float]]:
        """A vector for each; asks now and then whether anybody still waits, and may end early then."""


class EmbeddingsRequest(BaseModel):
    """POST /v1/embeddings."""

    model_config = ConfigDict(extra="ignore")

    input: (
        Annotated[str, Field(min_length=1)]
        | Annotated[list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MOST_TEXTS)]
        | Tokens
        | Annotated[list[Tokens], Field(min_length=1, max_length=MOST_TEXTS)]
    )
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None

    @field_validator("encoding_format", mode="before")
    @classmethod
    def _null_is_default(cls, value: Any) -> Any:
        return "float" if value is None else value

    @property
    def prompts(self) -> list[str | list[int]]:
        if isinstance(self.input, str):
            return [self.input]
        if self.input and isinstance(self.input[0], int):
            return [[token for token in self.input if isinstance(token, int)]]
        return [each for each in self.input if not isinstance(each, int)]


@dataclass(frozen=True)
class Library:
    """The model behind the server."""

    name: str
    embedder: Embedder
    worker: Worker


def create_app(library: Library) -> FastAPI:
    """The application."""
    app = FastAPI(openapi_url=None)
    install(app)
    add_status(app, library.worker)

    @app.post("/v1/embeddings")
    async def embeddings(request: Request) -> Response:
        body = await asked(request, EmbeddingsRequest, MAX_BODY, "send fewer texts at once")
        if body.model not in (None, library.name):
            raise ApiError(404, f"The model '{body.model}' does not exist.", code="model_not_found")
        if body.dimensions is not None:
            raise ApiError(400, "vectors are not shortened here: leave dimensions out", param="dimensions")
        enter(library.worker, "too many requests are waiting")
        try:
            made = await unless_gone(request, library.worker.run(lambda left: _embedded(library, body, left)))
        finally:
            library.worker.leave()
        return Response(status_code=499) if made is None else JSONResponse(made)

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        model = {"id": library.name, "object": "model", "owned_by": "dormouse"}
        return {"object": "list", "data": [model | {"max_model_len": library.embedder.max_model_len}]}

    return app


def _embedded(library: Library, body: EmbeddingsRequest, left: Left) -> dict[str, Any]:
    """In the model's thread: tokenizers are not safe to use from several."""
    embedder, most = library.embedder, library.embedder.max_model_len
    prompts = [embedder.encode(each) if isinstance(each, str) else each for each in body.prompts]
    if (longest := max(map(len, prompts))) > most:
        text = f"This model's maximum context length is {most} tokens. However, you requested {longest} tokens in an "
        raise ApiError(400, text + "input. Shorten it.", code="context_length_exceeded", param="input")
    vectors, count = embedder.embed(prompts, left), sum(map(len, prompts))
    data = [
        {"object": "embedding", "index": place, "embedding": _encoded(vector, body.encoding_format)}
        for place, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": library.name, "usage": usage}


def _encoded(vector: list[float], form: str) -> list[float] | str:
    return vector if form == "float" else base64.b64encode(array("f", vector).tobytes()).decode()
