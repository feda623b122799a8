"""What spans are called and what they say. Pure: attributes by OpenTelemetry's names, those of our own by `dormouse.`.

Never a word of a prompt, of an answer or of a credential: no body, no query, no header but the request's id, and of a
path only the pattern of its route.
"""

from dormouse_router.gateway import CHAT, COMPLETIONS, EMBEDDINGS, Call

Attributes = dict[str, str | int | float | bool]

METHOD, ROUTE, STATUS = "http.request.method", "http.route", "http.response.status_code"
ERROR = "error.type"
ADDRESS, PORT = "server.address", "server.port"
REQUEST_ID, MODEL, DIALECT, STREAM = "dormouse.request_id", "dormouse.model", "dormouse.dialect", "dormouse.stream"
BY_ROUTE, ATTEMPT = "dormouse.route", "dormouse.attempt"
HELD, FIRST_TOKEN = "dormouse.hold_seconds", "dormouse.first_token_seconds"
INPUT, OUTPUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
OPERATIONS = {CHAT: "chat", COMPLETIONS: "text_completion", EMBEDDINGS: "embeddings"}
OTHERS = "_OTHER"
"""Of whatever is none of ours, as OpenTelemetry says it."""
METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


def server_name(method: str, route: str | None) -> str:
    return f"{known(method)} {route}" if route else known(method)


def known(method: str) -> str:
    """A method as it may be a name: clients may send any word."""
    return method if method in METHODS else OTHERS


def operation(call: Call) -> str:
    """`gen_ai.operation.name`; of what has none there the path on the engine."""
    return OPERATIONS.get(call.path) or call.path.removeprefix("/v1/").strip("/")


def of_call(call: Call) -> Attributes:
    """What is known of a call before it is answered."""
    record = call.record
    said: Attributes = {
        "gen_ai.operation.name": operation(call),
        "gen_ai.request.model": record.called,
        MODEL: record.full_name,
        DIALECT: call.dialect,
        STREAM: call.stream,
    }
    if record.taken is not None:
        said[BY_ROUTE] = "/".join(record.taken.route)
    return said


def of_tokens(prompt: int, completion: int) -> Attributes:
    """Nothing where nobody counted."""
    return {INPUT: prompt, OUTPUT: completion} if prompt or completion else {}
