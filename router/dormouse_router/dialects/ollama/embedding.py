"""POST /api/embed and the older /api/embeddings: from the client's request through the gateway and back."""

from collections.abc import Awaitable

import msgspec

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.complaints import words_of
from dormouse_router.dialects.ollama import embeds, refit
from dormouse_router.dialects.ollama.durations import keep_alive, nanoseconds
from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import EmbedRequest, decode, model_of
from dormouse_router.dialects.ollama.serve import DIALECT, answer_json, find, load_only
from dormouse_router.dialects.provenance import tell
from dormouse_router.dialects.timed import Clock
from dormouse_router.dialects.tracecontext import forwarded
from dormouse_router.dialects.waiting import hold_seconds
from dormouse_router.gateway import EMBEDDINGS, TOKENIZE, Call, Gateway, UpstreamCut
from dormouse_router.request import Refusal, Request


class Embedding:
    """The handlers; `clock` is the only time they know."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock

    async def embed(self, request: Request) -> None:
        """POST /api/embed: any number of texts, their vectors with a length of one."""
        arrived = self._clock.steady()
        found = await self._embedded(request, legacy=False)
        if found is None:
            return
        name, wish, vectors, held = found
        fields = {
            "model": name,
            "embeddings": [embeds.normalised(vector, wish.dimensions or None) for vector in vectors.ordered()],
            "total_duration": nanoseconds(self._clock.steady() - arrived),
            "load_duration": nanoseconds(held),
            "prompt_eval_count": max(1, vectors.usage.prompt_tokens),
        }
        await answer_json(request, fields)

    async def embeddings(self, request: Request) -> None:
        """POST /api/embeddings: one prompt, its vector as the model makes it."""
        found = await self._embedded(request, legacy=True)
        if found is not None:
            await answer_json(request, {"embedding": found[2].ordered()[0]})

    async def _embedded(
        self, request: Request, *, legacy: bool
    ) -> tuple[str, EmbedRequest, embeds.Vectors, float] | None:
        """The name the client called, its wish, the vectors and the seconds it was held; None: it is answered."""
        raw = await request.body()
        wish = decode(raw, EmbedRequest)
        name = model_of(wish)
        record = _found(self._gateway, name, request, raw)
        tell(request, record)
        texts, stay = embeds.inputs(wish, legacy), keep_alive(wish.keep_alive)
        wanted = embeds.body(wish, record, texts, legacy)
        if not texts:
            await load_only(self._gateway, request, record, stay)
            await answer_json(request, {"embedding": []} if legacy else {"model": name, "embeddings": []})
            return None
        _need_embedding(record, name)
        for text in embeds.doubtful(wish, record, texts):
            await self._fits(request, record, text, embeds.most_tokens(wish, record))
        call = Call(record, EMBEDDINGS, wanted, DIALECT, keep_alive=stay, request_id=request.request_id)
        call.hold, call.headers = hold_seconds(request), forwarded(request)
        return name, wish, *(await self._vectors(request, call))

    async def _fits(self, request: Request, record: Record, text: str, most: int | None) -> None:
        """Refusal 400 where `text` has more than `most` tokens. An engine that cannot count decides by itself."""
        body = msgspec.json.encode({"model": record.called, "prompt": text})
        call = Call(record, TOKENIZE, body, DIALECT, request_id=request.request_id)
        call.hold, call.headers = hold_seconds(request), forwarded(request)
        async with self._gateway.open(call) as upstream:
            if upstream.status < 400 and most is not None and embeds.count(await _body(upstream.body())) > most:
                raise bad_request(refit.TOO_LONG)

    async def _vectors(self, request: Request, call: Call) -> tuple[embeds.Vectors, float]:
        async with self._gateway.open(call) as upstream:
            tell(request, upstream.record, upstream.hold_seconds)
            body = await _body(upstream.body())
            if upstream.status >= 400:
                raise _refusal(upstream.status, words_of(body))
            try:
                vectors = msgspec.json.decode(body, type=embeds.Vectors)
            except msgspec.DecodeError as error:
                raise Refusal(502, f"the engine sent vectors that cannot be read: {error}") from error
        if not vectors.data:
            raise Refusal(502, "the engine sent no vectors")
        return vectors, upstream.hold_seconds


async def _body(coming: Awaitable[bytes]) -> bytes:
    try:
        return await coming
    except UpstreamCut as cut:
        raise Refusal(502, str(cut)) from cut


def _found(gateway: Gateway, name: str, request: Request, body: bytes) -> Record:
    try:
        return find(gateway, name, request, body)
    except Refusal as refusal:
        if refusal.status != 404:
            raise
        text = f'model "{name}" not found, try pulling it first: ollama pull {name}'
        raise Refusal(404, text, code=refusal.code) from None


def _need_embedding(record: Record, name: str) -> None:
    known = record.status.capabilities
    if known and "embedding" not in known:
        raise bad_request(f'"{name}" does not support embedding')


def _refusal(status: int, words: str) -> Refusal:
    if status == 400 and "context length" in words:
        return bad_request(refit.TOO_LONG)
    return refit.refusal(status, words)
