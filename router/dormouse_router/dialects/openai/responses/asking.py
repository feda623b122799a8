"""One call for an answer: from a plan through the gateway to the engine, and its refusals in OpenAI's words."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import relay
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.complaints import limit, prompt_tokens, room, too_long, with_fix, words_of
from dormouse_router.dialects.openai.errors import VERSION
from dormouse_router.dialects.openai.passing import lost
from dormouse_router.dialects.openai.responses.translate import Plan
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.gateway import BATCH, SESSION, Call, Gateway, Upstream, UpstreamCut, Waiting
from dormouse_router.request import Headers, Refusal, Request

HEAD: Headers = [*relay.STREAM_HEADERS, VERSION]
TRIES = 5
ROOM_FOR_ANSWER = 0.8
"""Share of the context that a conversation which is cut may fill."""
MOST_LEFT = 0.75
"""Share of a conversation that is left at most, each time it is cut: an engine's count may be a lower bound."""
Receive = Callable[[Upstream], Awaitable[None]]


@dataclass(slots=True)
class Asking:
    """What a call takes from the client's request, which may be answered before the call is made."""

    record: Record
    path: str
    request_id: str
    session: bytes
    hold: float | None
    headers: Headers
    low: bool = False
    waiting: Callable[[Waiting], Awaitable[None]] | None = None
    opened: list[Callable[[Upstream], None]] = field(default_factory=list)
    """Called when an engine has begun to answer."""

    def call(self, plan: Plan) -> Call:
        call = Call(self.record, self.path, plan.payload, "openai", plan.stream, request_id=self.request_id)
        call.session = self.session or plan.session
        if self.low:
            call.low, call.dialect = True, BATCH
        call.hold, call.headers, call.waiting = self.hold, self.headers, self.waiting
        return call


def asking(request: Request, record: Record, path: str) -> Asking:
    """Refusal 400 for a header that is not usable."""
    hold, session = wishes.hold_seconds(request), request.header(SESSION) or b""
    return Asking(record, path, request.request_id, session, hold, forwarded(request), request.low)


async def ask(gateway: Gateway, asked: Asking, plan: Plan, receive: Receive) -> None:
    """Call the engine and let `receive` have its answer. Refusal for whatever goes wrong.

    Where the engine has room for a shorter answer only, it is asked for that; where it has none for the conversation,
    and turns may be left out, for that of the latest ones.
    """
    for tries_left in reversed(range(TRIES)):
        again = await _ask(gateway, asked, plan, receive, last=not tries_left)
        if again is None:
            return
        plan = again


async def _ask(gateway: Gateway, asked: Asking, plan: Plan, receive: Receive, *, last: bool) -> Plan | None:
    async with gateway.open(asked.call(plan)) as upstream:
        for opened in asked.opened:
            opened(upstream)
        try:
            if upstream.status >= 400:
                words = words_of(await upstream.body())
                over = too_long(upstream.status, words)
                again = _shorter(plan, words) if over and not last else None
                if again is None:
                    raise _refusal(upstream, words, over)
                return again
            await receive(upstream)
        except UpstreamCut as cut:
            raise lost(str(cut)) from cut
        except AnswerError as error:
            raise Refusal(error.status, str(error)) from error
    return None


def _shorter(plan: Plan, words: str) -> Plan | None:
    """What to ask instead, after the engine's words on what it has no room for."""
    again = plan.with_room(room(words))
    if again is not None:
        return again
    most, prompt = limit(words), prompt_tokens(words)
    share = most / prompt if most and prompt else 1.0
    return plan.shortened(min(share * ROOM_FOR_ANSWER, MOST_LEFT))


def _refusal(upstream: Upstream, words: str, over: bool) -> Refusal:
    """An engine's own refusal, with its sentence."""
    after = next((value for name, value in upstream.headers if name == b"retry-after"), b"")
    code = "context_length_exceeded" if over else "model_not_found" if upstream.status == 404 else None
    param = "input" if over else None
    retry = float(after) if after.isdigit() else None
    return Refusal(upstream.status, with_fix(words), code=code, param=param, retry_after=retry)


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
            await request.start(200, HEAD)
        await request.write(wishes.comment(waiting) + b"\n")
