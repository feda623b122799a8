"""/v1/chat/completions, /v1/completions and /v1/embeddings: read once, checked, passed on, answered as it comes.

The hot path. A body goes to the engine as the client wrote it, except that the model's name is replaced where the
client used another of its names. Knows nothing of sockets, of waking, nor of where engines are.
"""

from collections.abc import Callable

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import peek
from dormouse_router.dataplane.peek import BadBody, Peek, splice_model
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.openai.passing import STREAM, Passing
from dormouse_router.dialects.provenance import tell
from dormouse_router.gateway import SESSION, Call, Gateway, Waiting
from dormouse_router.request import Headers, Line, Refusal, Request
from dormouse_router.settings import Settings


class Passed:
    """One pass-through route."""

    def __init__(self, gateway: Gateway, settings: Settings, path: str, check: Callable[[bytes], Peek]) -> None:
        self._gateway, self._path, self._check = gateway, path, check
        self._comments = settings.comments

    def __call__(self, line: Line) -> None:
        body = line.payload
        try:
            seen = self._check(body)
        except BadBody as bad:
            raise Refusal(400, str(bad), code=bad.code, param=bad.param) from None
        record = self._gateway.find(seen.model, request=line, body=body)
        if seen.model != record.name:
            body = splice_model(body, record.name)
        tell(line, record)
        call = Call(record, self._path, body, "openai", seen.stream, request_id=line.request_id)
        call.headers = forwarded(line)
        call.session = line.header(SESSION) or seen.session
        call.hold = wishes.hold_seconds(line)
        if seen.stream:
            call.waiting = Comments(line, self._comments)
        Passing(line, self._gateway.open(call), seen.model).begin()


class Comments:
    """Tells the client of a held stream how the wake goes, in SSE comments; the first sends the head."""

    __slots__ = ("_default", "_line")

    def __init__(self, line: Line, default: bool) -> None:
        """`default`: the router's setting, for where neither request nor model says whether comments are wanted."""
        self._line, self._default = line, default

    async def __call__(self, waiting: Waiting) -> None:
        line = self._line
        if not wishes.told(line, waiting.record, self._default):
            return
        if not line.started:
            tell(line, waiting.record)
            line.open(200, STREAM)
        eta = "" if waiting.remaining is None else f" eta={waiting.remaining:.0f}s"
        text = f": {waiting.record.name} {waiting.stage} waited={waiting.waited:.0f}s{eta}\n\n"
        await line.write(text.encode())


def forwarded(request: Request) -> Headers:
    """The client's headers that an engine is sent: those of distributed tracing. Credentials stay here."""
    parent = request.header(b"traceparent")
    if parent is None:
        return []
    state = request.header(b"tracestate")
    return [(b"traceparent", parent)] + ([] if state is None else [(b"tracestate", state)])


def checks() -> dict[str, Callable[[bytes], Peek]]:
    """Path → the check of its body."""
    return {
        "/v1/chat/completions": peek.chat,
        "/v1/completions": peek.completion,
        "/v1/embeddings": peek.embedding,
    }


def card(record: Record, name: str) -> dict[str, object]:
    """A model in OpenAI's lists, under `name`."""
    length = record.status.context_length
    extra = {} if length is None else {"max_model_len": length}
    return {"id": name, "object": "model", "created": int(record.created), "owned_by": "dormouse", **extra}


encode = msgspec.json.encode
