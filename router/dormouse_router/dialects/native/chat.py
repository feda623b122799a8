"""POST /chat: from the client's request through the gateway and back, with the history of its session."""

import asyncio
from dataclasses import dataclass
from typing import Any

from dormouse_router.catalog.record import Record
from dormouse_router.dataplane.relay import STREAM_HEADERS
from dormouse_router.dialects import waiting as wishes
from dormouse_router.dialects.complaints import too_long, with_fix, words_of
from dormouse_router.dialects.native.answers import JSON
from dormouse_router.dialects.native.chat_answer import Answer, event
from dormouse_router.dialects.native.chat_plan import Plan, chat_plan, shorter, with_history
from dormouse_router.dialects.native.chat_requests import decode
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.timed import Clock, Times
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.gateway import CHAT, SESSION, Call, Gateway, Upstream, UpstreamCut, Waiting
from dormouse_router.keeping import Sessions, request_owner
from dormouse_router.request import Refusal, Reply, Request
from dormouse_router.settings import Settings

DIALECT = "native"


@dataclass(frozen=True)
class Asked:
    """One chat on its way."""

    request: Request
    record: Record
    name: str
    """The model's, as the client wrote it."""
    owner: str
    arrived: float
    """On the steady clock."""


class Chatting:
    """The handler; `clock` is the only time it knows, but for the time-out."""

    def __init__(self, gateway: Gateway, sessions: Sessions, settings: Settings, clock: Clock) -> None:
        self._gateway, self._sessions, self._clock = gateway, sessions, clock
        self._comments, self._ttl = settings.comments, settings.session_seconds

    async def chat(self, request: Request) -> None:
        """Answer, or say in the client's own shape why not: with a status, or once the stream has begun as its end."""
        arrived = self._clock.steady()
        body = await request.body()
        wish = decode(body)
        name = wish.model or ""
        record = self._gateway.find(name, request=request, body=body)
        tell(request, record)
        asked = Asked(request, record, name, request_owner(request), arrived)
        try:
            await self._answer(asked, chat_plan(wish, record, name))
        except Refusal as refusal:
            if not request.started:
                raise
            await request.write(event({"error": refusal.message, "status": refusal.status}))
            await request.end()

    async def _answer(self, asked: Asked, plan: Plan) -> None:
        try:
            async with asyncio.timeout(plan.timeout) as limit:
                answer, plan = await self._generated(asked, plan)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise _late(plan.timeout, asked.request.started) from error
        request, last = asked.request, answer.finish(await self._kept(asked, plan, answer))
        if not plan.stream:
            await request.reply(Reply(200, last, (JSON,)))
            return
        await _begun(request)
        await request.write(last)
        await request.end()

    async def _generated(self, asked: Asked, plan: Plan) -> tuple[Answer, Plan]:
        """The whole answer, streamed as it came where that is wanted, and the plan that had it."""
        if plan.session is not None:
            plan = with_history(plan, await self._sessions.history(asked.owner, plan.session))
        while True:
            words = ""
            sent = self._clock.steady()
            async with self._gateway.open(self._call(asked, plan)) as upstream:
                tell(asked.request, upstream.record, upstream.hold_seconds)
                if upstream.status < 400:
                    times = Times(asked.arrived, sent + upstream.hold_seconds, upstream.hold_seconds)
                    answer = Answer(asked.name, self._clock, times, stream=plan.stream, tagged=plan.tagged)
                    await _relay(asked.request, upstream, answer)
                    return answer, plan
                words = words_of(await upstream.body())
            again = shorter(plan) if too_long(upstream.status, words) else None
            if again is None:
                raise _refusal(upstream, words)
            plan = again

    async def _kept(self, asked: Asked, plan: Plan, answer: Answer) -> dict[str, Any]:
        """What the answer says of its session. An answer that could not be kept is given all the same."""
        if plan.session is None:
            return {}
        turn = [*plan.said, answer.kept()]
        try:
            await self._sessions.append(asked.owner, plan.session, turn, plan.keep, self._ttl)
        except Refusal as refusal:
            return {"session_id": plan.session, "session_error": f"this turn is not in the history: {refusal.message}"}
        return {"session_id": plan.session}

    def _call(self, asked: Asked, plan: Plan) -> Call:
        request = asked.request
        call = Call(asked.record, CHAT, plan.payload, DIALECT, stream=True, request_id=request.request_id)
        call.keep_alive = plan.keep_alive
        call.hold = wishes.hold_seconds(request)
        call.headers = forwarded(request)
        call.session = request.header(SESSION) or (plan.session or "").encode()
        if plan.stream:
            call.waiting = Comments(request, self._comments)
        return call


class Comments:
    """Tells the client of a held stream how the wake goes; the first comment sends the head."""

    __slots__ = ("_default", "_request")

    def __init__(self, request: Request, default: bool) -> None:
        """`default`: the router's setting, for where neither request nor model says whether comments are wanted."""
        self._request, self._default = request, default

    async def __call__(self, waiting: Waiting) -> None:
        if not wishes.told(self._request, waiting.record, self._default):
            return
        tell(self._request, waiting.record)
        await _begun(self._request)
        await self._request.write(wishes.comment(waiting) + b"\n")


async def _begun(request: Request) -> None:
    if not request.started:
        await request.start(200, list(STREAM_HEADERS))


async def _relay(request: Request, upstream: Upstream, answer: Answer) -> None:
    """Pass the answer on. The head goes out with the first event, so an engine that fails at once has its status."""
    try:
        async for piece in upstream.chunks:
            if out := answer.feed(piece):
                await _begun(request)
                await request.write(out)
        answer.complete()
    except UpstreamCut as cut:
        raise Refusal(502, f"the answer broke off: {cut}: send the request again", retry_after=1.0) from cut
    except AnswerError as error:
        raise Refusal(error.status, str(error)) from error


def _late(seconds: float, begun: bool) -> Refusal:
    done = "whole" if begun else "there"
    return Refusal(
        408,
        f"the answer was not {done} within {seconds:g} s, so it was given up: send a larger timeout (up to 3600), "
        "or a smaller max_tokens",
        code="timeout",
        param="timeout",
    )


def _refusal(upstream: Upstream, words: str) -> Refusal:
    """An engine's own refusal, with its sentence."""
    after = next((value for name, value in upstream.headers if name == b"retry-after"), b"")
    return Refusal(upstream.status, with_fix(words), retry_after=float(after) if after.isdigit() else None)
