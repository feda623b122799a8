"""POST /models/{name}/predict: a call of a model with Python of its own, passed on to its engine and back.

The engine's answer has the native API's shape already, so it goes out as it comes. Of the input nothing is read here:
its schema is the engine's to check.
"""

from dataclasses import dataclass

import msgspec
from msgspec import Raw, Struct

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane.bodies import NO_RAW
from dormouse_router.dataplane.relay import STREAM_HEADERS
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.complaints import words_of
from dormouse_router.dialects.native.answers import JSON, bad_request
from dormouse_router.dialects.native.chat import Comments
from dormouse_router.dialects.native.chat_answer import event
from dormouse_router.dialects.ollama.durations import keep_alive
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.gateway import SESSION, Call, Gateway, Upstream, UpstreamCut
from dormouse_router.request import Refusal, Reply, Request
from dormouse_router.settings import Settings

BEFORE, AFTER = "/models/", "/predict"
"""Around the model's name, which may hold slashes, in the path."""
ON_ENGINE = "/predict"
ABILITY = "predict"
ERRORS_KEPT = 64 * 1024
"""Bytes of an engine's refusal that are passed on as they are."""


class PredictRequest(Struct):
    """What to predict from is the model's own business: `input_schema` of GET /models/{name} says what it takes."""

    input: Raw = NO_RAW
    stream: bool | None = None
    keep_alive: Raw = NO_RAW


class _Sent(Struct):
    """What the engine is sent."""

    model: str
    input: Raw
    stream: bool


@dataclass(frozen=True)
class Asked:
    """One prediction on its way."""

    request: Request
    record: Record
    wish: PredictRequest

    @property
    def stream(self) -> bool:
        return bool(self.wish.stream)


class Predicting:
    """The handler."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway, self._comments = gateway, settings.comments

    async def predict(self, request: Request) -> None:
        """Answer, or say why not: with a status, or once a stream has begun as its last event."""
        body = await request.body()
        wish = decode(body)
        name = request.path[len(BEFORE) : -len(AFTER)]
        record = self._gateway.find(name, request=request, body=body)
        tell(request, record)
        check(record, name)
        asked = Asked(request, record, wish)
        try:
            async with self._gateway.open(self._call(asked)) as upstream:
                tell(request, upstream.record, upstream.hold_seconds)
                await _pass_on(asked, upstream)
        except Refusal as refusal:
            if not request.started:
                raise
            await request.write(event({"error": refusal.message, "status": refusal.status}))
            await request.end()

    def _call(self, asked: Asked) -> Call:
        request, wish = asked.request, asked.wish
        payload = msgspec.json.encode(_Sent(asked.record.name, wish.input, asked.stream))
        call = Call(asked.record, ON_ENGINE, payload, "native", asked.stream, request_id=request.request_id)
        if bytes(wish.keep_alive):
            call.keep_alive = keep_alive(msgspec.json.decode(wish.keep_alive))
        call.hold = wishes.hold_seconds(request)
        call.headers = forwarded(request)
        call.session = request.header(SESSION) or b""
        if asked.stream:
            call.waiting = Comments(request, self._comments)
        return call


def decode(body: bytes) -> PredictRequest:
    """The request in `body`. Refusal 400 with the fix."""
    try:
        wish = msgspec.json.decode(body or b"{}", type=PredictRequest)
    except msgspec.ValidationError as error:
        raise bad_request(f"invalid request: {error}; the fields are input, stream, keep_alive") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not bytes(wish.input):
        raise bad_request('say what to predict from: {"input": {...}}', "input")
    return wish


def check(record: Record, name: str) -> None:
    """Refusal 400 where the model is known to take no predictions: before a wake."""
    known = record.status.capabilities
    if known and ABILITY not in known:
        raise bad_request(
            f"'{name}' takes no predictions: it can {', '.join(known)}. A model does whose profile names a Python "
            "class (RuntimeProfile spec.custom)",
            "name",
        )


async def _pass_on(asked: Asked, upstream: Upstream) -> None:
    request = asked.request
    if upstream.status >= 400 or not upstream.flow.events:
        body = await _whole(upstream)
        if upstream.status >= 400:
            body = _refused(upstream, body)
        if request.started:  # the client was told of its wait in a stream
            fields = msgspec.json.decode(body)
            await request.write(event(fields if upstream.status < 400 else {**fields, "status": upstream.status}))
            await request.end()
        else:
            await request.reply(Reply(upstream.status, body, (JSON, *_again(upstream))))
        return
    try:
        async for piece in upstream.chunks:
            if not request.started:
                await request.start(200, list(STREAM_HEADERS))
            await request.write(piece)
    except UpstreamCut as cut:
        raise _broken(cut) from cut
    await request.end()


async def _whole(upstream: Upstream) -> bytes:
    try:
        return await upstream.body()
    except UpstreamCut as cut:
        raise _broken(cut) from cut


def _broken(cut: UpstreamCut) -> Refusal:
    return Refusal(502, f"the answer broke off: {cut}: send the request again", retry_after=1.0)


def _refused(upstream: Upstream, body: bytes) -> bytes:
    """An engine's refusal: as it is where it has our shape, else its words in it."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    if len(body) <= ERRORS_KEPT and isinstance(found, dict) and isinstance(found.get("error"), str):
        return body
    return msgspec.json.encode({"error": words_of(body)[:ERRORS_KEPT]})


def _again(upstream: Upstream) -> list[tuple[bytes, bytes]]:
    """Retry-After, where the engine says it."""
    return [header for header in upstream.headers if header[0] == b"retry-after" and header[1].isdigit()]
