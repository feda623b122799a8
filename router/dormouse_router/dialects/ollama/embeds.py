"""/api/embed and the older /api/embeddings: what the engine is asked, and its vectors as Ollama gives them. Pure."""

import math
from typing import Any

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.ollama import options
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import EmbedRequest

_AROUND = 2
"""Tokens that stand around a text."""
_LEAST = 2
"""A text of fewer tokens would be none."""


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


class _Count(msgspec.Struct):
    count: int = 0


_count = msgspec.json.Decoder(_Count).decode


def inputs(request: EmbedRequest, legacy: bool) -> list[str]:
    """The texts to embed: none where the client only wants the model loaded."""
    if request.dimensions is not None and request.dimensions < 0:
        raise bad_request("dimensions must be at least 1")
    given = request.prompt if legacy else request.input
    if given is None or given == "":
        return []
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise bad_request("invalid input type: input must be a string or a list of strings")
    return texts


def body(request: EmbedRequest, record: Record, texts: list[str], legacy: bool) -> bytes:
    """The engine's request. Texts that are too long are cut by the engine unless `truncate` is false: to `num_ctx`
    tokens where that is less than the model takes. `legacy`: vectors as the model makes them, whatever their length.
    """
    wish: dict[str, Any] = {"model": record.called, "input": texts, "encoding_format": "float"}
    most = most_tokens(request, record)
    if request.truncate is not False:
        if most is not None and most < _LEAST:
            raise bad_request(
                f"input after truncation exceeds maximum context length: num_ctx must be at least {_LEAST}"
            )
        wish["truncate_prompt_tokens"] = -1 if most is None else most
    if legacy:
        wish["use_activation"] = False  # vLLM's name for the step that gives vectors a length of one
    return msgspec.json.encode(wish)


def most_tokens(request: EmbedRequest, record: Record) -> int | None:
    """Tokens the client allows a text, where they are fewer than the model's; None: the model's own."""
    wish = options.checked(request.options).get("num_ctx")
    length = record.context_length
    return wish if isinstance(wish, int) and (length is None or wish < length) else None


def doubtful(request: EmbedRequest, record: Record, texts: list[str]) -> list[str]:
    """The texts that may have more tokens than the client allows although they must not be cut."""
    most = most_tokens(request, record)
    if most is None or request.truncate is not False:
        return []
    return [text for text in texts if len(text.encode()) + _AROUND > most]  # a token is one byte or more


def count(body: bytes) -> int:
    """The tokens in the answer of the engine's tokenizer; 0 where it cannot be read."""
    try:
        return _count(body).count
    except msgspec.DecodeError:
        return 0


def normalised(vector: list[float], dimensions: int | None) -> list[float]:
    """The first `dimensions` of `vector` (None: all) with a length of one; zero stays zero."""
    vector = vector[:dimensions]
    length = math.sqrt(math.fsum(x * x for x in vector))
    return [x / length for x in vector] if length else vector
