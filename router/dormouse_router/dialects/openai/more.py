"""The calls beside chat, completions and embeddings: rerank, score, images, speech and tokens, passed on as they are.

The shapes are vLLM's where OpenAI has none; of each body that is read which says whether it is worth a wake.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from dormouse_router.dataplane import peek
from dormouse_router.dataplane.bodies import NO_RAW, Count, Message
from dormouse_router.dataplane.peek import BadBody, Peek
from dormouse_router.dialects.openai.abilities import Ability
from dormouse_router.dialects.openai.calls import Endpoint
from dormouse_router.gateway import TOKENIZE

Text = Annotated[str, Meta(min_length=1)]


class _Named(Struct):
    model: Text
    stream: bool | None = None
    priority: Raw = NO_RAW
    keep_alive: Raw = NO_RAW


class Rerank(_Named, kw_only=True):
    """POST /v1/rerank: `query` against each of `documents`."""

    query: str | dict[str, Any]
    documents: Annotated[list[str | dict[str, Any]], Meta(min_length=1)]
    top_n: Count | None = None


class Score(_Named, kw_only=True):
    """POST /v1/score: pairs, as `queries` and `documents`, `queries` and `items`, `text_1` and `text_2`, or data."""

    queries: Raw = NO_RAW
    documents: Raw = NO_RAW
    items: Raw = NO_RAW
    text_1: Raw = NO_RAW
    text_2: Raw = NO_RAW
    data_1: Raw = NO_RAW
    data_2: Raw = NO_RAW


class Images(_Named, kw_only=True):
    """POST /v1/images/generations."""

    prompt: Text
    n: Annotated[int, Meta(ge=1, le=10)] | None = None


class Speech(_Named, kw_only=True):
    """POST /v1/audio/speech."""

    input: Text


class Tokenize(_Named, kw_only=True):
    """POST /tokenize: `prompt`, or `messages` by the model's template."""

    prompt: str | None = None
    messages: list[Message] | None = None


class Detokenize(_Named, kw_only=True):
    """POST /detokenize."""

    tokens: list[Count]


_PAIRS = (("queries", "documents"), ("queries", "items"), ("text_1", "text_2"), ("data_1", "data_2"))


def _score(seen: Any) -> None:
    if not any(bytes(getattr(seen, one)) and bytes(getattr(seen, other)) for one, other in _PAIRS):
        text = "Missing required parameter: send 'queries' and 'documents', or 'text_1' and 'text_2'."
        raise BadBody(text, "missing_required_parameter", "queries")


def _tokenize(seen: Any) -> None:
    if (seen.prompt is None) == (seen.messages is None):
        raise BadBody("Send either 'prompt' or 'messages'.", "missing_required_parameter", "prompt")


def _fine(seen: Any) -> None:
    """Nothing more to ask for than the fields."""


def _check(shape: type[_Named], also: Callable[[Any], None] = _fine) -> Callable[[bytes], Peek]:
    decoder = msgspec.json.Decoder(shape)

    def check(body: bytes) -> Peek:
        seen: Any = peek.decode(decoder, body)
        also(seen)
        refit = seen.priority != NO_RAW
        return Peek(seen.model, bool(seen.stream), keep_alive=bytes(seen.keep_alive), refit=refit)

    return check


def endpoints() -> dict[str, Endpoint]:
    """By path; several paths of clients may be one of the engine's."""
    found: dict[str, Endpoint] = {}

    def add(paths: Sequence[str], endpoint: Endpoint) -> None:
        found.update(dict.fromkeys(paths, endpoint))

    add(("/v1/rerank", "/rerank", "/v2/rerank"), Endpoint("/rerank", _check(Rerank), Ability.SCORE))
    add(("/v1/score", "/score"), Endpoint("/score", _check(Score, _score), Ability.SCORE))
    for path, shape, ability in (
        ("/v1/images/generations", Images, Ability.DRAW),
        ("/v1/audio/speech", Speech, Ability.SPEAK),
    ):
        add((path,), Endpoint(path, _check(shape), ability))
    add((TOKENIZE,), Endpoint(TOKENIZE, _check(Tokenize, _tokenize), Ability.TOKENIZE))
    add(("/detokenize",), Endpoint("/detokenize", _check(Detokenize), Ability.TOKENIZE))
    return found
