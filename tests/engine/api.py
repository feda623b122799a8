"""Port 8000: OpenAI's routes as a vLLM server answers them, with the faults the prompt asks for."""

import asyncio
import itertools
import json
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from tests.engine import others, plan, shapes, words
from tests.engine.directives import Directives, parse
from tests.engine.plan import TOOL, BadRequestError, Choice, Piece
from tests.engine.wire import CutError, Reply, Request

SPOKEN = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize")
MOST_DIMENSIONS, MOST_LOGPROBS = 4096, 20
KEPT = 500
"""Requests kept for `GET /_requests`."""


class DieError(Exception):
    """The prompt asks for the process to end."""


class InBandError(Exception):
    """The prompt asks for an error in the stream."""


class Api:
    """The served model. `dies` is called, and never returns, where a prompt asks for the end of the process."""

    def __init__(self, model: str, max_model_len: int, media: bool = False) -> None:
        self._model = model
        self._media = media
        self._limit = max_model_len
        self._ids = itertools.count(1)
        self._created = int(time.time())
        self.died = asyncio.Event()
        self.idle = asyncio.Event()
        self.idle.set()
        self.requests: deque[dict[str, Any]] = deque(maxlen=KEPT)
        """What arrived: path, headers, body as text."""
        self.in_flight = 0
        self.peak = 0
        self.served = 0

    async def handle(self, request: Request, reply: Reply) -> None:
        match (request.method, request.path):
            case ("GET", "/health"):
                await reply.send(200, "", "text/plain")
            case ("GET", "/v1/models"):
                await reply.send(200, shapes.models(self._model, self._created, self._limit))
            case ("GET", "/version"):
                await reply.send(200, {"version": "0.0.0+scripted"})
            case ("GET", "/metrics"):
                await reply.send(200, self.metrics(), "text/plain; version=0.0.4")
            case ("GET", "/_requests"):
                await reply.send(200, list(self.requests))
            case ("POST", path) if path in SPOKEN or path in others.RANKS or (self._media and path in others.MEDIA):
                await self._counted(request, reply)
            case _:
                await reply.send(404, {"detail": "Not Found"})

    def metrics(self) -> str:
        label = f'{{model_name="{self._model}"}}'
        return (
            f"vllm:num_requests_running{label} {float(self.in_flight)}\n"
            f"vllm:num_requests_waiting{label} 0.0\n"
            f"scripted:peak_in_flight{label} {float(self.peak)}\n"
            f"scripted:served_total{label} {float(self.served)}\n"
        )

    async def _counted(self, request: Request, reply: Reply) -> None:
        self.requests.append(
            {"path": request.path, "headers": request.headers, "body": request.body.decode(errors="replace")}
        )
        self.in_flight += 1
        self.idle.clear()
        self.peak = max(self.peak, self.in_flight)
        try:
            await self._guarded(request, reply)
            self.served += 1
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self.idle.set()

    async def _guarded(self, request: Request, reply: Reply) -> None:
        try:
            body = others.form(request) if request.path in others.FORMS else self._body(request)
            await self._route(request, body, reply)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            await reply.send(400, shapes.error(400, str(error) or "bad request"))
        except LookupError as error:
            await reply.send(404, shapes.error(404, str(error)))
        except DieError:
            self.died.set()
            await asyncio.Event().wait()  # the process ends, or the in-process engine cancels this

    def _body(self, request: Request) -> dict[str, Any]:
        try:
            body = json.loads(request.body)
        except ValueError as error:
            raise BadRequestError(f"invalid JSON: {error}") from error
        if not isinstance(body, dict):
            raise BadRequestError("the body must be an object")
        if body.get("model", self._model) != self._model:
            raise LookupError(f"The model `{body['model']}` does not exist.")
        return body

    async def _route(self, request: Request, body: dict[str, Any], reply: Reply) -> None:
        match request.path:
            case "/v1/chat/completions":
                await self._chat(request, body, reply)
            case "/v1/completions":
                await self._completions(request, body, reply)
            case "/v1/embeddings":
                texts = _texts(body.get("input"))
                size = _at_most(body, "dimensions", MOST_DIMENSIONS) or words.EMBEDDING_SIZE
                packed = body.get("encoding_format") == "base64"
                await reply.send(200, shapes.embeddings(self._model, texts, size, packed))
            case "/tokenize":
                text = body.get("prompt") or "\n".join(plan.text_of(m.get("content")) for m in body.get("messages", []))
                ids = [words.token_id(token) for token in words.tokens(text)]
                await reply.send(200, {"count": len(ids), "max_model_len": self._limit, "tokens": ids})
            case "/detokenize":
                await reply.send(200, {"prompt": " ".join(str(token) for token in body["tokens"])})
            case _:
                await others.answer(request.path, body, self._model, reply)

    async def _chat(self, request: Request, body: dict[str, Any], reply: Reply) -> None:
        directives = parse(plan.prompt_of(body))
        choices = plan.chat(body, directives, _echo(request, body))
        logprobs = int(body.get("top_logprobs") or 0) if body.get("logprobs") else None
        head = shapes.Head(f"chatcmpl-{next(self._ids)}", self._model, int(time.time()), logprobs)
        prompt = sum(len(words.tokens(plan.text_of(m.get("content")))) for m in body["messages"])
        await _Answer(head, choices, directives, prompt, chat=True).send(body, reply)

    async def _completions(self, request: Request, body: dict[str, Any], reply: Reply) -> None:
        prompts = [(text, parse(text)) for text in _texts(body.get("prompt"))]
        choices = plan.completions(body, prompts, _echo(request, body))
        logprobs = _at_most(body, "logprobs", MOST_LOGPROBS)
        head = shapes.Head(f"cmpl-{next(self._ids)}", self._model, int(time.time()), logprobs)
        count = sum(len(words.tokens(text)) for text, _ in prompts)
        await _Answer(head, choices, prompts[0][1], count, chat=False).send(body, reply)


def _at_most(body: dict[str, Any], field: str, most: int) -> int | None:
    value: int | None = body.get(field)
    if value is not None and value > most:
        raise BadRequestError(f"{field} must be at most {most}, got {value}")
    return value


class _Answer:
    """One answer on its way out, streamed or whole."""

    def __init__(
        self, head: shapes.Head, choices: list[Choice], directives: Directives, prompt_tokens: int, chat: bool
    ) -> None:
        self._head = head
        self._choices = choices
        self._told = directives
        self._chat = chat
        self._prompt_tokens = prompt_tokens
        self._used = shapes.usage(prompt_tokens, sum(len(choice.pieces) for choice in choices))
        self._sent = 0
        self._running = False
        """Whether the client asked for the usage so far in every event, which vLLM calls continuous."""

    async def send(self, body: dict[str, Any], reply: Reply) -> None:
        if self._told.status is not None:
            await reply.send(self._told.status, shapes.error(self._told.status, self._told.message))
        elif body.get("stream"):
            options = body.get("stream_options") or {}
            self._running = bool(options.get("continuous_usage_stats"))
            await self._stream(reply, bool(options.get("include_usage")))
        else:
            await self._whole(reply)

    async def _whole(self, reply: Reply) -> None:
        try:
            async for _ in self._play():
                pass
        except InBandError as error:
            await reply.send(500, shapes.error(500, str(error)))
            return
        make = shapes.chat if self._chat else shapes.text
        await reply.send(200, make(self._head, self._choices, self._used))

    async def _stream(self, reply: Reply, with_usage: bool) -> None:
        reply.odd = self._told.odd
        begun: set[tuple[int, int]] = set()
        try:
            async for choice, piece in self._play():
                if not reply.started:
                    await self._open(reply, with_usage)
                self._sent += 1
                await self._event(reply, self._delta(choice, piece, begun), with_usage)
        except InBandError as error:
            if not reply.started:
                await reply.start("text/event-stream; charset=utf-8")
            await self._event(reply, shapes.error(500, str(error)), False)
            await reply.end()
            return
        if not reply.started:
            await self._open(reply, with_usage)
        for choice in self._choices:
            last = shapes.chat_last if self._chat else shapes.text_last
            await self._event(reply, last(self._head, choice), with_usage)
        if with_usage:
            total = shapes.chat_usage if self._chat else shapes.text_usage
            await self._event(reply, total(self._head, self._used), False)
        await reply.chunk(b"data: [DONE]\n\n")
        await reply.end()

    async def _open(self, reply: Reply, with_usage: bool) -> None:
        await reply.start("text/event-stream; charset=utf-8")
        if self._chat:
            for choice in self._choices:
                await self._event(reply, shapes.chat_first(self._head, choice), with_usage)

    def _delta(self, choice: Choice, piece: Piece, begun: set[tuple[int, int]]) -> dict[str, Any]:
        if not self._chat:
            return shapes.text_delta(self._head, choice, piece)
        call = (choice.index, piece.call)
        first = piece.kind == TOOL and call not in begun
        if first:
            begun.add(call)
        return shapes.chat_delta(self._head, choice, piece, first)

    async def _event(self, reply: Reply, value: dict[str, Any], with_usage: bool) -> None:
        if with_usage:
            value = {**value, "usage": shapes.usage(self._prompt_tokens, self._sent) if self._running else None}
        await reply.chunk(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

    async def _play(self) -> AsyncIterator[tuple[Choice, Piece]]:
        """Every piece in its time, choices in turn, until the fault the prompt asks for."""
        turns = itertools.zip_longest(*(choice.pieces for choice in self._choices))
        sent = 0
        for row in turns:
            for choice, piece in zip(self._choices, row, strict=True):
                if piece is None:
                    continue
                await self._before(sent)
                yield choice, piece
                sent += 1
        await self._before(sent, ended=True)

    async def _before(self, sent: int, ended: bool = False) -> None:
        told = self._told
        if told.stall and (told.stall_after == sent or (ended and told.stall_after > sent)):
            await asyncio.sleep(told.stall)
        if told.pause and not ended:
            await asyncio.sleep(told.pause)
        for after, fault in (
            (told.die_after, DieError()),
            (told.cut_after, CutError()),
            (told.error_after, InBandError(told.message)),
        ):
            if after is not None and (sent == after or ended):
                raise fault


def _echo(request: Request, body: dict[str, Any]) -> str:
    return json.dumps({"path": request.path, "headers": request.headers, "body": body}, ensure_ascii=False)


def _texts(value: object) -> list[str]:
    """The prompts of a completion or the inputs of an embedding: strings, or token ids as words of their own."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(isinstance(item, int) for item in value):
            return [" ".join(str(item) for item in value)]
        return [text for item in value for text in _texts(item)]
    raise BadRequestError("the input must be a string, a list of strings, or token ids, and not empty")
