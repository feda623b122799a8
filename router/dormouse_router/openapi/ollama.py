"""Ollama's routes."""

from dormouse_router.openapi import headers
from dormouse_router.openapi.parts import JSON, LINES, STRING, Answer, Family, Operation, path_parameter, ref

FAMILY = Family(
    "Ollama",
    'Ollama\'s API, for its command line, its SDKs and the editors that speak it. Errors are `{"error": sentence}`, '
    "and in a stream a line of that form.",
    "OllamaError",
)
_DIGEST = path_parameter("digest", "`sha256:` and 64 hexadecimal digits.", STRING)
_CALLS = tuple(status for status in headers.CALLS if status != 429)
"""A full queue is 503 in this dialect."""
_WORK = (*headers.POST, 404, 409)
_WHOLE = "One object, or unless `stream` is false its lines."


def _call(path: str, summary: str, body: str, answer: str, line: str = "", about: str = "") -> Operation:
    contents = {JSON: ref(answer)} | ({LINES: ref(line)} if line else {})
    ok = Answer(_WHOLE if line else "The answer.", contents, headers.PROVENANCE)
    return Operation(FAMILY, "post", path, summary, {200: ok}, (*_CALLS, 422), about, body, headers.CALL)


def _post(path: str, summary: str, body: str, ok: Answer, refusals: tuple[int, ...], about: str = "") -> Operation:
    return Operation(FAMILY, "post", path, summary, {200: ok}, refusals, about, body, ("request-id",))


def _read(path: str, summary: str, answer: str, *, head: bool = False) -> Operation:
    return Operation(FAMILY, "get", path, summary, {200: Answer("It.", {JSON: ref(answer)})}, headers.READ, head=head)


def _refused(path: str, summary: str, status: int) -> Operation:
    return Operation(FAMILY, "post", path, summary, {}, (*headers.READ, status))


_STEPS = Answer(_WHOLE, {JSON: ref("OllamaDone"), LINES: ref("OllamaProgressLine")}, ("x-request-id",))
_DONE = Answer("It is done. No body.", {}, ("x-request-id",))

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        FAMILY,
        "get",
        "/",
        "Say that the server runs",
        {200: Answer("A sentence.", {"text/plain": STRING})},
        headers.READ,
        head=True,
    ),
    _call("/api/chat", "Chat", "OllamaChatRequest", "OllamaChat", "OllamaLine"),
    _call("/api/generate", "Generate a text", "OllamaGenerateRequest", "OllamaGenerated", "OllamaGeneratedLine"),
    _call("/api/embed", "Embed texts", "OllamaEmbedRequest", "OllamaEmbeddings"),
    _call(
        "/api/embeddings", "Embed a text (older)", "OllamaEmbeddingRequest", "OllamaEmbedding", about="Takes `prompt`."
    ),
    _post(
        "/api/show",
        "Show a model",
        "OllamaNameRequest",
        Answer("It.", {JSON: ref("OllamaShown")}, ("x-request-id",)),
        (*headers.POST, 404),
    ),
    _post(
        "/api/pull",
        "Pull a model, or follow its pull",
        "OllamaNameRequest",
        _STEPS,
        _WORK,
        "Makes an InferenceModel where nothing has that name yet. A client that leaves stops nothing.",
    ),
    _post(
        "/api/create",
        "Make a name of another model",
        "OllamaCreateRequest",
        _STEPS,
        (*_WORK, 501),
        "Makes an InferenceRoute over the model, with its own system prompt, parameters and first messages.",
    ),
    _post("/api/copy", "Give a model another name", "OllamaCopyRequest", _DONE, _WORK, "Makes an InferenceRoute."),
    _read("/api/tags", "List models", "OllamaTags", head=True),
    _read("/api/ps", "List models that are awake", "OllamaPs"),
    _read("/api/version", "Say which version of Ollama's API this is", "OllamaVersion", head=True),
    _read("/api/status", "Say that there is no cloud", "OllamaStatus"),
    Operation(
        FAMILY,
        "delete",
        "/api/delete",
        "Delete a model or a name",
        {200: Answer("It is gone. No body.")},
        (*headers.READ, 400, 404, 409, 413, 503),
        body="OllamaNameRequest",
    ),
    _refused("/api/push", "Refused: nothing is pushed from here", 400),
    _refused("/api/me", "Refused: there are no accounts here", 404),
    _refused("/api/signout", "Refused: there are no accounts here", 404),
    Operation(
        FAMILY,
        "post",
        "/api/blobs/{digest}",
        "Refused: models are not made of files",
        {},
        (*headers.READ, 400),
        own=(_DIGEST,),
    ),
    Operation(
        FAMILY,
        "head",
        "/api/blobs/{digest}",
        "Say that there is no such blob",
        {404: Answer("There is none.")},
        headers.READ,
        own=(_DIGEST,),
    ),
)
