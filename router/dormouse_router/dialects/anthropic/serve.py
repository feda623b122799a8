"""POST /v1/messages and /v1/messages/count_tokens: from the client's request through the gateway and back."""

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import relay
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.anthropic import answer, errors, shapes
from dormouse_router.dialects.anthropic.requests import CountRequest, MessagesRequest, decode
from dormouse_router.dialects.anthropic.translate import Plan, count_plan, message_plan
from dormouse_router.dialects.complaints import room, too_long, with_fix, words_of
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.gateway import CHAT, SESSION, TOKENIZE, Call, Gateway, Upstream, UpstreamCut, Waiting
from dormouse_router.request import Refusal, Reply, Request
from dormouse_router.settings import Settings

DIALECT = "anthropic"


class Serving:
    """The handlers."""

    def __init__(self, gateway: Gateway, settings: Settings) -> None:
        self._gateway = gateway
        self._pings = settings.comments

    async def messages(self, request: Request) -> None:
        """POST /v1/messages."""
        body = await request.body()
        wish = decode(body, MessagesRequest)
        record = self._gateway.find(wish.model, request=request, body=body)
        tell(request, record)
        plan = message_plan(wish, record)
        stream = answer.Stream(plan, wish.model) if plan.stream else None
        try:
            again = await self._serve(request, record, plan, wish.model, stream)
            if again is not None:
                await self._serve(request, record, again, wish.model, stream)
        except Refusal as refusal:
            if not request.started:
                raise
            await request.write(errors.event(refusal.status, refusal.message, request.request_id))
            await request.end()

    async def _serve(
        self, request: Request, record: Record, plan: Plan, name: str, stream: answer.Stream | None
    ) -> Plan | None:
        """Answer; or a plan to try instead, where the engine has room for a shorter answer only. Refusal."""
        call = _call(request, record, CHAT, plan)
        if stream is not None:
            call.waiting = Pings(request, stream, self._pings)
        async with self._gateway.open(call) as upstream:
            tell(request, upstream.record, upstream.hold_seconds)
            try:
                if upstream.status >= 400:
                    words = words_of(await upstream.body())
                    again = plan.with_room(room(words)) if too_long(upstream.status, words) else None
                    if again is None:
                        raise _refusal(upstream, words)
                    return again
                if stream is not None:
                    await _stream(request, upstream, stream)
                else:
                    await _whole(request, upstream, plan, name)
            except UpstreamCut as cut:
                text = f"The answer broke off: {cut}. Send the request again."
                raise Refusal(502, text, code="engine_lost", retry_after=1.0) from cut
            except AnswerError as error:
                raise Refusal(error.status, str(error)) from error
        return None

    async def count_tokens(self, request: Request) -> None:
        """POST /v1/messages/count_tokens. The model's own tokenizer counts, so a model that sleeps is woken."""
        raw = await request.body()
        wish = decode(raw, CountRequest)
        record = self._gateway.find(wish.model, request=request, body=raw)
        tell(request, record)
        async with self._gateway.open(_call(request, record, TOKENIZE, count_plan(wish, record))) as upstream:
            tell(request, upstream.record, upstream.hold_seconds)
            try:
                body = await upstream.body()
            except UpstreamCut as cut:
                raise Refusal(502, f"The count broke off: {cut}. Send the request again.", retry_after=1.0) from cut
            if upstream.status in (404, 405, 501):
                raise Refusal(400, f"The engine of '{wish.model}' cannot count tokens.")
            if upstream.status >= 400:
                raise _refusal(upstream, words_of(body))
            try:
                counted = _count(body)
            except msgspec.DecodeError as error:
                raise Refusal(502, f"The engine sent a count that cannot be read: {error}") from error
            await _reply(request, msgspec.json.encode({"input_tokens": counted.count}))


class _Count(msgspec.Struct):
    count: int


_count = msgspec.json.Decoder(_Count).decode


class Pings:
    """Keeps the client of a held stream with us: the first call sends the head and message_start, each a ping.

    A comment before the ping says how the wake goes, for people who look: SDKs skip both.
    """

    __slots__ = ("_default", "_request", "_stream")

    def __init__(self, request: Request, stream: answer.Stream, default: bool) -> None:
        """`default`: the router's setting, for where neither request nor model says whether pings are wanted."""
        self._request, self._stream, self._default = request, stream, default

    async def __call__(self, waiting: Waiting) -> None:
        request = self._request
        if not wishes.told(request, waiting.record, self._default):
            return
        if not request.started:
            tell(request, waiting.record)
            await request.start(200, [*relay.STREAM_HEADERS, _ident(request)])
        await request.write(self._stream.begin() + wishes.comment(waiting) + shapes.PING)


def _call(request: Request, record: Record, path: str, plan: Plan) -> Call:
    call = Call(record, path, plan.payload, DIALECT, plan.stream, request_id=request.request_id)
    call.headers = forwarded(request)
    call.hold = wishes.hold_seconds(request)
    call.session = request.header(SESSION) or plan.session
    return call


async def _stream(request: Request, upstream: Upstream, stream: answer.Stream) -> None:
    """Pass the answer on. The head goes out with the first event, so an engine that fails at once has its status."""
    async for piece in upstream.chunks:
        if out := stream.feed(piece):
            if not request.started:
                await request.start(200, [*relay.STREAM_HEADERS, _ident(request)])
            await request.write(out)
    await request.write(stream.finish())
    await request.end()


async def _whole(request: Request, upstream: Upstream, plan: Plan, name: str) -> None:
    body = answer.whole(await upstream.body(), plan, name)
    await _reply(request, body)


async def _reply(request: Request, body: bytes) -> None:
    await request.reply(Reply(200, body, (errors.JSON, _ident(request))))


def _ident(request: Request) -> tuple[bytes, bytes]:
    """The request's id under the name Anthropic's SDKs look for."""
    return (b"request-id", request.request_id.encode())


def _refusal(upstream: Upstream, words: str) -> Refusal:
    """An engine's own refusal, with its sentence."""
    after = next((value for name, value in upstream.headers if name == b"retry-after"), b"")
    return Refusal(upstream.status, with_fix(words), retry_after=float(after) if after.isdigit() else None)
