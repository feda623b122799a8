"""The routes on which a model talks: chat and generate. From the client's request through the gateway and back."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec

from dormouse_router.caller import Caller
from dormouse_router.catalog.record import Record
from dormouse_router.catalog.routes import Route
from dormouse_router.dialects.complaints import words_of
from dormouse_router.dialects.ollama import names, refit
from dormouse_router.dialects.ollama.answer import Answer
from dormouse_router.dialects.ollama.durations import keep_alive, timestamp
from dormouse_router.dialects.ollama.errors import JSON, bad_request, error_line, not_found
from dormouse_router.dialects.ollama.requests import ChatRequest, GenerateRequest, decode, model_of
from dormouse_router.dialects.ollama.translate import Plan, chat_plan, generate_plan, need_text
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.timed import Clock, Times
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.dialects.waiting import hold_seconds
from dormouse_router.gateway import SESSION, Call, Gateway, Upstream, UpstreamCut
from dormouse_router.request import Refusal, Reply, Request

DIALECT = "ollama"
NDJSON = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
_TRIES = 12
"""Halving a conversation this often leaves one turn of 4,096."""


def find(gateway: Gateway, name: str, request: Request, body: bytes = b"") -> Record:
    """The model to call for `name`, in any of its spellings. Refusal 404 that says how to pull it."""
    for spelling in spellings(name):
        try:
            return gateway.find(spelling, exact=False, request=request, body=body)
        except Refusal as refusal:
            if refusal.status != 404:
                raise
    raise not_found(name, to_call=True)


def look_up(gateway: Gateway, name: str, caller: Caller) -> Record | Route:
    """The model or the route that `name` means, in any of its spellings, to tell or change it. Refusal 404."""
    for spelling in spellings(name):
        found = gateway.look_up(spelling, caller, exact=False)
        if found is not None:
            return found
    raise not_found(name, to_call=False)


def spellings(name: str) -> tuple[str, ...]:
    """As the client wrote it, and as Ollama would list it."""
    parsed = names.parse(name)
    return tuple(dict.fromkeys((name, parsed.listed if parsed else name)))


async def answer_json(request: Request, fields: dict[str, Any]) -> None:
    await request.reply(Reply(200, msgspec.json.encode(fields), (JSON,)))


async def load_only(gateway: Gateway, request: Request, record: Record, stay: float | None) -> None:
    """What a request without a prompt is for: the model wakes, or with `stay` 0 may sleep."""
    if stay == 0:
        await gateway.unload(record)
    else:
        await gateway.load(record, stay, hold_seconds(request))


class Serving:
    """The handlers; `clock` is the only time they know."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock

    async def chat(self, request: Request) -> None:
        """POST /api/chat. Without messages it loads the model, or unloads it with keep_alive 0."""
        arrived = self._clock.steady()
        body = await request.body()
        wish = decode(body, ChatRequest)
        name = model_of(wish)
        record = find(self._gateway, name, request, body)
        tell(request, record)
        if not wish.messages:
            await self._load(request, record, name, keep_alive(wish.keep_alive), chat=True)
            return
        need_text(record, name, "chat")
        await self._serve(request, record, name, chat_plan(wish, record, name, self._today()), arrived)

    async def generate(self, request: Request) -> None:
        """POST /api/generate. Without a prompt it loads the model, or unloads it with keep_alive 0."""
        arrived = self._clock.steady()
        body = await request.body()
        wish = decode(body, GenerateRequest)
        name = model_of(wish)
        record = find(self._gateway, name, request, body)
        tell(request, record)
        if not (wish.prompt or wish.images or wish.suffix):
            await self._load(request, record, name, keep_alive(wish.keep_alive), chat=False)
            return
        need_text(record, name, "generate")
        await self._serve(request, record, name, generate_plan(wish, record, name, self._today()), arrived)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock.wall(), UTC).date()

    async def _load(self, request: Request, record: Record, name: str, stay: float | None, *, chat: bool) -> None:
        reason = "unload" if stay == 0 else "load"
        await load_only(self._gateway, request, record, stay)
        said: dict[str, Any] = {"message": {"role": "assistant", "content": ""}} if chat else {"response": ""}
        now = timestamp(self._clock.wall())
        await answer_json(request, {"model": name, "created_at": now, **said, "done": True, "done_reason": reason})

    async def _serve(self, request: Request, record: Record, name: str, plan: Plan, arrived: float) -> None:
        held = 0.0
        for _ in range(_TRIES):
            sent = self._clock.steady()
            async with self._gateway.open(_call(request, record, plan)) as upstream:
                held += upstream.hold_seconds
                tell(request, upstream.record, held)
                if upstream.status < 400:
                    times = Times(arrived=arrived, sent=sent + upstream.hold_seconds, held=held)
                    await _relay(request, upstream, Answer(plan, name, self._clock, times), plan)
                    return
                words = words_of(await upstream.body())
                again = refit.shorter(plan, upstream.status, words)
            if again is None:
                raise refit.refusal(upstream.status, words)
            plan = again
        raise bad_request(refit.TOO_LONG)


def _call(request: Request, record: Record, plan: Plan) -> Call:
    return Call(
        record=record,
        path=plan.path,
        body=plan.payload,
        dialect=DIALECT,
        stream=True,
        keep_alive=plan.keep_alive,
        hold=hold_seconds(request),
        request_id=request.request_id,
        session=request.header(SESSION) or b"",
        headers=forwarded(request),
    )


async def _relay(request: Request, upstream: Upstream, answer: Answer, plan: Plan) -> None:
    """Pass the answer on. The head goes out with the first line, so an engine that fails at once has its status."""
    try:
        async for piece in upstream.chunks:
            if out := answer.feed(piece):
                if not request.started:
                    await request.start(200, list(NDJSON))
                await request.write(out)
        last = answer.finish()
    except (UpstreamCut, AnswerError) as error:
        if not request.started:
            raise Refusal(502, str(error)) from error
        await request.write(error_line(str(error)))
        await request.end()
        return
    if not plan.stream:
        await request.reply(Reply(200, last, (JSON,)))
        return
    if not request.started:
        await request.start(200, list(NDJSON))
    await request.write(last)
    await request.end()
