"""/v1/chat/completions, /v1/completions and /v1/embeddings: read once, checked, passed on, answered as it comes.

The hot path. A body goes to the engine as the client wrote it, except that the model's name is replaced where the
client used another of its names. Knows nothing of sockets, of waking, nor of where engines are.
"""

from collections.abc import Callable

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import peek, relay
from dormouse_router.dataplane.peek import BadBody, Peek, splice_model
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.openai import errors
from dormouse_router.dialects.provenance import tell
from dormouse_router.gateway import SESSION, Call, Gateway, Headers, Refusal, Request, Upstream, UpstreamCut, Waiting
from dormouse_router.settings import Settings

VERSION = (b"openai-version", b"2020-10-01")


class Passed:
    """One pass-through route."""

    def __init__(self, gateway: Gateway, settings: Settings, path: str, check: Callable[[bytes], Peek]) -> None:
        self._gateway, self._path, self._check = gateway, path, check
        self._comments = settings.comments

    async def __call__(self, request: Request) -> None:
        body = await request.body()
        try:
            seen = self._check(body)
        except BadBody as bad:
            raise Refusal(400, str(bad), code=bad.code, param=bad.param) from None
        record = self._gateway.find(seen.model, request=request, body=body)
        tell(request, record)
        if seen.model != record.name:
            body = splice_model(body, record.name)
        call = Call(record, self._path, body, "openai", seen.stream, request_id=request.request_id)
        call.headers = forwarded(request)
        call.session = request.header(SESSION) or seen.session
        call.hold = wishes.hold_seconds(request)
        if seen.stream:
            call.waiting = Comments(request, self._comments)
        try:
            async with self._gateway.open(call) as upstream:
                await answer(request, upstream, seen.model)
        except (Refusal, UpstreamCut) as error:
            if not request.started:
                raise
            await _late(request, error)


async def answer(request: Request, upstream: Upstream, model: str) -> None:
    """Pass an engine's answer on. `model` is what the caller called it."""
    tell(request, upstream.record, upstream.hold_seconds)
    headers = [VERSION]
    if relay.is_stream(upstream):
        await relay.stream(request, upstream, headers, lambda why: errors.event(502, _broken(why), "engine_lost"))
        return
    try:
        body = await upstream.body()
    except UpstreamCut as cut:
        raise Refusal(502, _broken(str(cut)), code="engine_lost", retry_after=1.0) from cut
    if upstream.status >= 400:
        headers += errors.passed_on(upstream.headers)
        body = errors.translate(upstream.status, body)
        if request.started:
            await request.write(b"data: " + body + b"\n\n")
            await request.end()
            return
    elif model != upstream.record.name and body.startswith(b"{"):
        body = splice_model(body, model)
    await relay.whole(request, upstream, headers, body)


def _broken(why: str) -> str:
    return f"The answer broke off: {why}. Send the request again."


async def _late(request: Request, error: Refusal | UpstreamCut) -> None:
    """The head is out already: the error is the stream's last event."""
    if isinstance(error, Refusal):
        await request.write(errors.event(error.status, error.message, error.code))
    else:
        await request.write(errors.event(502, _broken(str(error)), "engine_lost"))
    await request.end()


class Comments:
    """Tells the client of a held stream how the wake goes, in SSE comments; the first sends the head."""

    __slots__ = ("_default", "_request")

    def __init__(self, request: Request, default: bool) -> None:
        """`default`: the router's setting, for where neither request nor model says whether comments are wanted."""
        self._request, self._default = request, default

    async def __call__(self, waiting: Waiting) -> None:
        request = self._request
        if not wishes.told(request, waiting.record, self._default):
            return
        if not request.started:
            tell(request, waiting.record)
            await request.start(200, [*relay.STREAM_HEADERS, VERSION])
        eta = "" if waiting.remaining is None else f" eta={waiting.remaining:.0f}s"
        text = f": {waiting.record.name} {waiting.stage} waited={waiting.waited:.0f}s{eta}\n\n"
        await request.write(text.encode())


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
