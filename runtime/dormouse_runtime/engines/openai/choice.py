"""One choice of one answer: from the batcher's steps to pieces of text and tool calls, and to its finish reason."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from dormouse_runtime.engines.generation import Batcher, Finish, Sampling, Tokenizer
from dormouse_runtime.engines.openai.text import Detokenizer, StopWatch
from dormouse_runtime.engines.openai.tools import ToolCall, ToolParser


@dataclass(frozen=True)
class Piece:
    """Something new to say: text, finished tool calls, and on the last piece why it ended."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    first_call: int = 0
    """How many calls of this choice came before `calls`."""
    finish: str | None = None
    stopped_by: str | None = None
    """On the last piece: the stop string that ended it, if one did."""

    def end(self) -> dict[str, str | None]:
        """Why it ended, on the wire; `stop_reason` is vLLM's name for the string."""
        told: dict[str, str | None] = {"finish_reason": self.finish}
        return told if self.stopped_by is None else {**told, "stop_reason": self.stopped_by}


@dataclass
class Usage:
    """Tokens counted as they come."""

    prompt: int = 0
    completion: int = 0

    def wire(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


@dataclass(frozen=True)
class Ask:
    """All that one choice needs."""

    prompt: Sequence[int]
    sampling: Sampling
    stops: Sequence[str]
    tools: bool
    eos: frozenset[int]


async def pieces(ask: Ask, batcher: Batcher, tokenizer: Tokenizer, usage: Usage) -> AsyncGenerator[Piece, None]:
    """The choice, piece by piece; the last one has `finish`. Closing it early frees the sequence's place."""
    words, watch = Detokenizer(tokenizer), StopWatch(ask.stops)
    parser = ToolParser() if ask.tools else None
    finish: Finish | None = None
    async with aclosing(batcher.generate(ask.prompt, ask.sampling)) as steps:
        async for step in steps:
            usage.completion += len(step.tokens)
            text = watch.feed(words.feed([token for token in step.tokens if token not in ask.eos]))
            finish = Finish.STOP if watch.stopped else step.finish
            if finish:
                text += "" if watch.stopped else watch.feed(words.close()) + watch.close()
            piece = replace(_split(parser, text, finish), stopped_by=watch.stopped_by)
            if piece.text or piece.calls or piece.finish:
                yield piece
            if finish:
                return


def _split(parser: ToolParser | None, text: str, finish: Finish | None) -> Piece:
    if parser is None:
        return Piece(text, finish=finish)
    before = len(parser.calls)
    text, calls = parser.feed(text)
    if finish:
        text += parser.close()
    reason = "tool_calls" if finish is Finish.STOP and parser.calls else finish
    return Piece(text, tuple(calls), before, reason)
