"""POST /v1/responses and /v1/responses/input_tokens: from the client's request through the gateway and back."""

import time
from collections.abc import AsyncIterator

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.openai import errors
from dormouse_router.dialects.openai.errors import VERSION
from dormouse_router.dialects.openai.responses import objects
from dormouse_router.dialects.openai.responses.answer import Stream, whole
from dormouse_router.dialects.openai.responses.asking import HEAD, Asking, Comments, ask, asking
from dormouse_router.dialects.openai.responses.background import Background
from dormouse_router.dialects.openai.responses.items import Ids
from dormouse_router.dialects.openai.responses.kept import Keeper, Turn
from dormouse_router.dialects.openai.responses.requests import CountRequest, CreateRequest, read
from dormouse_router.dialects.openai.responses.translate import Plan, count_plan, response_plan
from dormouse_router.dialects.provenance import tell
from dormouse_router.gateway import CHAT, TOKENIZE, Gateway, Upstream
from dormouse_router.keeping import request_owner
from dormouse_router.request import Refusal, Reply, Request
from dormouse_router.settings import Settings


class Serving:
    """The handlers."""

    def __init__(self, gateway: Gateway, keeper: Keeper, background: Background, settings: Settings) -> None:
        self._gateway, self._keeper, self._background = gateway, keeper, background
        self._comments = settings.comments

    async def create(self, request: Request) -> None:
        """POST /v1/responses."""
        body = await request.body()
        wish = read(body, CreateRequest)
        record = self._gateway.find(wish.model, request=request, body=body)
        tell(request, record)
        turn, history = await self._turn(wish, record, request_owner(request))
        streamed = bool(wish.stream) or bool(wish.background)
        plan = response_plan(wish, [*history, *turn.items], record, stream=streamed)
        asked = asking(request, record, CHAT)
        if wish.background:
            job = await self._background.begin(turn, plan, asked)
            if wish.stream:
                await _follow(request, job.events(0))
            else:
                await _reply(request, job.response)
            return
        asked.opened.append(lambda upstream: tell(request, upstream.record, upstream.hold_seconds))
        if wish.stream:
            asked.waiting = Comments(request, self._comments)
            await self._stream(request, turn, plan, asked)
        else:
            await self._whole(request, turn, plan, asked)

    async def _turn(self, wish: CreateRequest, record: Record, owner: str) -> tuple[Turn, list[objects.Object]]:
        base = objects.draft(wish, record, objects.response_id(), time.time())
        ids = Ids(base["id"])
        history, own = await self._keeper.conversation(wish, owner, ids)
        return Turn(wish, owner, base, own, ids), history

    async def _whole(self, request: Request, turn: Turn, plan: Plan, asked: Asking) -> None:
        made: list[objects.Object] = []

        async def receive(upstream: Upstream) -> None:
            made.append(whole(await upstream.body(), plan, turn.base, turn.ids))

        await ask(self._gateway, asked, plan, receive)
        await _reply(request, await self._keeper.keep(turn, made[0]))

    async def _stream(self, request: Request, turn: Turn, plan: Plan, asked: Asking) -> None:
        """The head goes out with the first event, so an engine that fails at once has its status."""
        stream = Stream(plan, turn.base, turn.ids)

        async def receive(upstream: Upstream) -> None:
            async for piece in upstream.chunks:
                if out := stream.feed(piece):  # no head before there is something to tell
                    await _write(request, out)
            await _write(request, stream.close())

        try:
            await ask(self._gateway, asked, plan, receive)
            response = await self._keeper.keep(turn, stream.became())
        except Refusal as refusal:
            if not request.started:
                raise
            out, response = stream.broke(refusal.message, objects.error_code(refusal.status))
            await _write(request, out)
            response = await self._keep_failed(turn, response)
        await _write(request, stream.last(response))
        await request.end()

    async def _keep_failed(self, turn: Turn, response: objects.Object) -> objects.Object:
        try:
            return await self._keeper.keep(turn, response)
        except Refusal:
            return response | {"store": False}

    async def input_tokens(self, request: Request) -> None:
        """POST /v1/responses/input_tokens. The model's own tokenizer counts, so a model that sleeps is woken."""
        body = await request.body()
        wish = read(body, CountRequest)
        record = self._gateway.find(wish.model, request=request, body=body)
        tell(request, record)
        ids = Ids(objects.response_id())
        history, own = await self._keeper.conversation(wish, request_owner(request), ids)
        plan = count_plan(wish, [*history, *own], record)
        counts: list[int] = []

        async def receive(upstream: Upstream) -> None:
            try:
                counts.append(_count(await upstream.body()).count)
            except msgspec.DecodeError as error:
                raise Refusal(502, f"The engine sent a count that cannot be read: {error}") from error

        asked = asking(request, record, TOKENIZE)
        asked.opened.append(lambda upstream: tell(request, upstream.record, upstream.hold_seconds))
        asked.opened.append(lambda upstream: _can_count(upstream, wish.model))
        await ask(self._gateway, asked, plan, receive)
        await _reply(request, {"object": "response.input_tokens", "input_tokens": counts[0]})


class _Count(msgspec.Struct):
    count: int


_count = msgspec.json.Decoder(_Count).decode


def _can_count(upstream: Upstream, name: str) -> None:
    if upstream.status in (404, 405, 501):
        raise Refusal(400, f"The engine of '{name}' cannot count tokens.", code="unsupported_value", param="model")


async def _write(request: Request, out: bytes) -> None:
    if not request.started:
        await request.start(200, HEAD)
    if out:
        await request.write(out)


async def _reply(request: Request, value: object) -> None:
    await request.reply(Reply(200, msgspec.json.encode(value), (errors.JSON, VERSION)))


async def _follow(request: Request, events: AsyncIterator[bytes]) -> None:
    await request.start(200, HEAD)
    async for event in events:
        await request.write(event)
    await request.end()
