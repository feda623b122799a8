"""/api/embed and the older /api/embeddings: what the engine is asked, and its vectors as Ollama gives them. Pure."""

import math
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import EmbedRequest


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class Vectors(msgspec.Struct):
    """The engine's answer."""

    data: list[_Vector]
    usage: _Usage = msgspec.field(default_factory=_Usage)

    def ordered(self) -> list[list[float]]:
        return [vector.embedding for vector in sorted(self.data, key=lambda vector: vector.index)]


def inputs(request: EmbedRequest, legacy: bool) -> list[str]:
    """The texts to embed: none where the client only wants the model loaded."""
    if request.dimensions is not None and request.dimensions < 1:
        raise bad_request("dimensions must be at least 1")
    given = request.prompt if legacy else request.input
    if given is None or given == "":
        return []
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise bad_request("invalid input type: input must be a string or a list of strings")
    return texts


def body(request: EmbedRequest, record: Record, texts: list[str]) -> bytes:
    """The engine's request. Texts that are too long are cut by the engine unless `truncate` is false."""
    wish: dict[str, Any] = {"model": record.name, "input": texts, "encoding_format": "float"}
    if request.truncate is not False:
        wish["truncate_prompt_tokens"] = -1
    return msgspec.json.encode(wish)


def normalised(vector: list[float], dimensions: int | None) -> list[float]:
    """The first `dimensions` of `vector` (None: all) with a length of one; zero stays zero."""
    vector = vector[:dimensions]
    length = math.sqrt(math.fsum(x * x for x in vector))
    return [x / length for x in vector] if length else vector
