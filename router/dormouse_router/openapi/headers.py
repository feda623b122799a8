"""The headers of requests and answers, and what each status of a refusal means: the same in every dialect."""

from dormouse_router.openapi.parts import ANY, COUNT, NUMBER, STRING, Schema, enum, said

_SECONDS: Schema = {"type": "number", "minimum": 0}


def _header(name: str, description: str, schema: Schema) -> Schema:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


PARAMETERS: dict[str, Schema] = {
    "hold": _header(
        "x-dormouse-hold-seconds",
        "Most seconds this call waits for a sleeping model. 0: the wake begins and the call is refused at once.",
        said(_SECONDS, "Seconds."),
    ),
    "comments": _header(
        "x-dormouse-comments",
        "`on` or `off`: whether a stream that waits for a sleeping model is told how the wake goes. "
        "Anything else counts as not sent.",
        ANY,
    ),
    "session": _header(
        "x-dormouse-session",
        "Calls of one session meet at the same engine, whose cache knows their beginning.",
        STRING,
    ),
    "request-id": _header("x-request-id", "Your id of this request: the answer carries it.", STRING),
    "idempotency-key": _header(
        "idempotency-key", "Your name of this request: sent again with the same, it makes nothing again.", STRING
    ),
    "anthropic-version": _header(
        "anthropic-version", "Sent by Anthropic's clients; any is taken. Makes lists of models Anthropic's.", STRING
    ),
}
CALL = ("hold", "session", "request-id")
STREAMED = ("hold", "comments", "session", "request-id")

HEADERS: dict[str, Schema] = {
    "x-request-id": {"description": "The request's id: the client's own, if it sent one.", "schema": STRING},
    "request-id": {"description": "The same id, where Anthropic's clients look for it.", "schema": STRING},
    "retry-after": {"description": "Seconds after which another try makes sense.", "schema": COUNT},
    "retry-after-ms": {"description": "The same in milliseconds.", "schema": NUMBER},
    "x-should-retry": {"description": "Whether another try makes sense at all.", "schema": enum("true", "false")},
    "x-dormouse-model": {"description": "`namespace/name` of the model that answered.", "schema": STRING},
    "x-dormouse-commit": {"description": "The commit of its weights.", "schema": STRING},
    "x-dormouse-engine": {"description": "The engine that serves it.", "schema": STRING},
    "x-dormouse-quantization": {"description": "How its weights are quantized.", "schema": STRING},
    "x-dormouse-hold-ms": {"description": "How long the call waited for the model to wake.", "schema": COUNT},
    "x-dormouse-route": {"description": "`namespace/name` of the route that was called.", "schema": STRING},
    "x-dormouse-variant": {"description": "Which of the route's variants answered.", "schema": STRING},
    "location": {"description": "Where what was made can be read.", "schema": STRING},
    "allow": {"description": "The methods that this path has.", "schema": STRING},
}
ALWAYS = frozenset({"x-request-id", "request-id", "location", "x-dormouse-model", "x-dormouse-quantization"})
"""Headers that an answer which names them always has."""
PROVENANCE = (
    "x-request-id",
    "x-dormouse-model",
    "x-dormouse-quantization",
    "x-dormouse-commit",
    "x-dormouse-engine",
    "x-dormouse-hold-ms",
    "x-dormouse-route",
    "x-dormouse-variant",
)
"""Which weights answered, and how long the call was held."""

READ = (403, 500)
"""What reading may be refused with."""
POST = (400, 403, 408, 413, 415, 500, 503)
"""What any request with a body may be refused with."""
CALLS = (*POST, 404, 429, 502, 504)
"""What a request that reaches a model may be refused with."""
STATUSES = {
    400: "The request is not what this route takes: the message says which field, and what it takes.",
    401: "The credentials are missing or wrong.",
    403: "Not allowed here: by policy, or for a web page of that origin.",
    404: "There is no such thing. For a model, the message says how to pull it.",
    408: "The request's body came too slowly, or the time that the request gave was up.",
    409: "It is in use, exists already, or was changed meanwhile.",
    413: "The body is larger than this route takes.",
    415: "The body is compressed in another way than gzip, or of another type than this route takes.",
    416: "The file has none of the bytes that are asked for.",
    422: "The engine does not take the request: its own words say why.",
    429: "Too many calls wait for this model already: try again after `retry-after`.",
    499: "The call was cancelled.",
    500: "The router, or the engine, failed on this request.",
    501: "This server does not do that: the message says what to do instead.",
    502: "The engine died before it had answered, or could not be reached.",
    503: "The model did not wake in time or cannot be served, or the router is full or stopping: the message says.",
    504: "The engine said nothing for too long.",
    507: "The file store is full.",
}
RETRYABLE = (429, 502, 503)
"""Refusals that may say when to try again."""
