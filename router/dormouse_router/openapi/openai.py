"""OpenAI's routes."""

from dormouse_router.openapi import headers
from dormouse_router.openapi.parts import (
    EVENTS,
    JSON,
    Answer,
    Family,
    Operation,
    ended,
    path_parameter,
    ref,
    said,
)

FAMILY = Family(
    "OpenAI",
    "OpenAI's API, for its SDKs and whatever else speaks it. Names of models are exact. A model that sleeps "
    "wakes while the call waits.",
    "OpenAIError",
)
PASSED = said({}, "Passed on to the engine as it is.")
NAME = path_parameter(
    "name", "A name of the model. It may hold slashes, escaped (%2F) or not.", {"type": "string", "minLength": 1}
)
_WHOLE = "The whole answer, or with `stream` its events; an error after the first one is the last event."


def _call(path: str, summary: str, body: str, answer: str, event: str = "") -> Operation:
    contents = {JSON: ref(answer)} | ({EVENTS: ended(ref(event))} if event else {})
    ok = Answer(_WHOLE if event else "The answer.", contents, headers.PROVENANCE)
    parameters = headers.STREAMED if event else headers.CALL
    return Operation(FAMILY, "post", path, summary, {200: ok}, (*headers.CALLS, 422), "", body, parameters)


def _none_stored() -> tuple[Operation, ...]:
    """Chat completions are not kept."""
    one, refusals = "/v1/chat/completions/{name}", (*headers.READ, 404)
    ways = (("get", "/v1/chat/completions", ()), *((method, one, (NAME,)) for method in ("get", "post", "delete")))
    text = "Refused: chat completions are not stored"
    return tuple(Operation(FAMILY, method, path, text, {}, refusals, own=own) for method, path, own in ways)


OPERATIONS: tuple[Operation, ...] = (
    _call("/v1/chat/completions", "Chat", "OpenAIChat", "OpenAIChatAnswer", "OpenAIChatChunk"),
    _call("/v1/completions", "Complete a text", "OpenAICompletion", "OpenAICompletionAnswer", "OpenAICompletionChunk"),
    _call("/v1/embeddings", "Embed texts", "OpenAIEmbedding", "OpenAIEmbeddings"),
    *_none_stored(),
)
