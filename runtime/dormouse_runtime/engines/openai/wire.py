"""The answers of the OpenAI API, whole and streamed, for chat and for plain completions."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from dormouse_runtime.engines.generation import Batcher, GenerationError, Tokenizer
from dormouse_runtime.engines.openai.choice import Ask, Piece, Usage, pieces
from dormouse_runtime.engines.openai.types import ChatRequest, CompletionRequest


@dataclass(frozen=True)
class Shape:
    """What one answer looks like."""

    chat: bool
    id: str
    created: int
    model: str
    include_usage: bool
    running_usage: bool = False
    """Every event tells the usage so far."""

    def head(self, streamed: bool) -> dict[str, Any]:
        kind = ("chat.completion.chunk" if streamed else "chat.completion") if self.chat else "text_completion"
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def shape_of(body: ChatRequest | CompletionRequest, model: str) -> Shape:
    """The shape of the answer to `body`."""
    chat = isinstance(body, ChatRequest)
    prefix = "chatcmpl" if chat else "cmpl"
    return Shape(chat, f"{prefix}-{uuid.uuid4().hex}", int(time.time()), model, body.include_usage, body.running_usage)


class EventStream(StreamingResponse):
    """Server-sent events; `done` runs at the end in every case, a client that left included."""

    def __init__(self, content: AsyncIterator[bytes], done: Callable[[], None]) -> None:
        super().__init__(content, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._done()


async def whole(shape: Shape, asks: Sequence[Ask], batcher: Batcher, tokenizer: Tokenizer) -> dict[str, Any]:
    """The answer in one piece."""
    usage = Usage(prompt=_prompt_tokens(asks))
    broken: GenerationError | None = None
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_collect(ask, batcher, tokenizer, usage)) for ask in asks]
    except* GenerationError as failed:
        broken = GenerationError(str(failed.exceptions[0]))
    if broken is not None:
        raise broken  # not above: from there Python 3.11.2 sends it out within a group
    choices = [_choice(shape, index, task.result()) for index, task in enumerate(tasks)]
    return {**shape.head(streamed=False), "choices": choices, "usage": usage.wire()}


def _prompt_tokens(asks: Sequence[Ask]) -> int:
    """Each prompt counts once, however many choices were asked of it."""
    return sum(len(prompt) for prompt in {id(ask.prompt): ask.prompt for ask in asks}.values())


async def _collect(ask: Ask, batcher: Batcher, tokenizer: Tokenizer, usage: Usage) -> list[Piece]:
    return [piece async for piece in pieces(ask, batcher, tokenizer, usage)]


def _choice(shape: Shape, index: int, said: Sequence[Piece]) -> dict[str, Any]:
    text = "".join(piece.text for piece in said)
    calls = [call.wire() for piece in said for call in piece.calls]
    end = {"index": index, "logprobs": None, **(said[-1] if said else Piece()).end()}
    if not shape.chat:
        return {**end, "text": text}
    message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
    return {**end, "message": message | ({"tool_calls": calls} if calls else {})}


async def stream(
    shape: Shape, asks: Sequence[Ask], batcher: Batcher, tokenizer: Tokenizer
) -> AsyncGenerator[bytes, None]:
    """The answer as events. An error after the first byte can only be told in the stream."""
    usage = Usage(prompt=_prompt_tokens(asks))
    running = usage if shape.running_usage else None
    if shape.chat:
        for index in range(len(asks)):
            yield _event(shape, [_delta(index, {"role": "assistant", "content": ""})], running)
    queue: asyncio.Queue[tuple[int, Piece] | GenerationError | None] = asyncio.Queue(64)
    feeder = asyncio.create_task(_feed(asks, batcher, tokenizer, usage, queue))
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, GenerationError):
                error = {"message": str(item), "type": "server_error", "param": None, "code": "engine_failed"}
                yield b"data: " + json.dumps({"error": error}).encode() + b"\n\n"
                return
            for choice in _stream_choices(shape, *item):
                yield _event(shape, [choice], running)
        if shape.include_usage:
            yield _event(shape, [], usage)
        yield b"data: [DONE]\n\n"
    finally:
        feeder.cancel()
        await asyncio.wait([feeder])


async def _feed(
    asks: Sequence[Ask],
    batcher: Batcher,
    tokenizer: Tokenizer,
    usage: Usage,
    queue: asyncio.Queue[tuple[int, Piece] | GenerationError | None],
) -> None:
    async def one(index: int, ask: Ask) -> None:
        async with aclosing(pieces(ask, batcher, tokenizer, usage)) as said:
            async for piece in said:
                await queue.put((index, piece))

    try:
        async with asyncio.TaskGroup() as group:
            for index, ask in enumerate(asks):
                group.create_task(one(index, ask))
    except* GenerationError as failed:
        first = failed.exceptions[0]
        await queue.put(first if isinstance(first, GenerationError) else GenerationError(str(first)))
    await queue.put(None)


def _stream_choices(shape: Shape, index: int, piece: Piece) -> list[dict[str, Any]]:
    if not shape.chat:
        return [{"index": index, "text": piece.text, "logprobs": None, **piece.end()}]
    out = [_delta(index, {"content": piece.text})] if piece.text else []
    for number, call in enumerate(piece.calls, piece.first_call):
        out.append(_delta(index, {"tool_calls": [{"index": number, **call.wire()}]}))
    return [*out, _delta(index, {}) | piece.end()] if piece.finish else out


def _delta(index: int, delta: dict[str, Any]) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}


def _event(shape: Shape, choices: list[dict[str, Any]], usage: Usage | None = None) -> bytes:
    body = {**shape.head(streamed=True), "choices": choices} | ({"usage": usage.wire()} if usage else {})
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
