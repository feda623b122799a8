"""From the engine's stream to Ollama's: one `Answer` per request, fed with bytes, giving whole lines.

The engine is always asked to stream, also where the client is not: only so are the durations measured ones. Pure but
for the clock it is given.
"""

from typing import Any

from dormouse_router.dialects import chunks
from dormouse_router.dialects.ollama import context, lines, logprobs
from dormouse_router.dialects.ollama.durations import nanoseconds, timestamp
from dormouse_router.dialects.ollama.tools import Calls, ToolCall
from dormouse_router.dialects.ollama.translate import Plan
from dormouse_router.dialects.thinking import OPEN, Splitter
from dormouse_router.dialects.timed import Clock, Timed, Times


class Answer(Timed):
    """`feed` it, and end it with `finish`; both give the bytes to send (none, for a client that does not stream)."""

    def __init__(self, plan: Plan, name: str, clock: Clock, times: Times) -> None:
        super().__init__(clock, times)
        self._plan, self._name = plan, name
        self._calls = Calls(f"{name}/{times.arrived}")
        self._splitter = Splitter() if plan.tagged else None
        if self._splitter is not None and plan.opened:
            self._splitter.feed(OPEN)
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[ToolCall] = []
        self._logprobs: list[logprobs.Entry] = []

    def finish(self) -> bytes:
        """The end of the answer. AnswerError where the engine stopped before it was done."""
        reason = self.complete()
        if self._plan.stream:
            return lines.last(self._line("", None, None), reason, self._metrics(), self._context()) + b"\n"
        whole = self._line("".join(self._text), "".join(self._thinking) or None, self._logprobs or None)
        if isinstance(whole, lines.ChatLine) and self._tool_calls:
            whole.message.tool_calls = self._tool_calls
        return lines.last(whole, reason, self._metrics(), self._context())

    def _choice(self, choice: chunks.Choice) -> bytes:
        delta = choice.delta
        text = choice.text if delta is None else delta.content
        thinking = None if delta is None else delta.reasoning or delta.reasoning_content
        entries = logprobs.from_chunk(choice.logprobs, self._plan.top_logprobs)
        out = b""
        if text or thinking or entries:
            if self._splitter is not None:
                text, tagged = self._splitter.feed(text or "")
                thinking = thinking or tagged
            out = self._piece(text or "", thinking, entries)
        for part in (delta and delta.tool_calls) or ():
            out += self._called(self._calls.feed(part))
        if choice.finish_reason is not None:
            if self._splitter is not None:
                out += self._piece(*self._splitter.end(), None)
            out += self._called(self._calls.end())
            self._reason = "length" if choice.finish_reason == "length" else "stop"
        return out

    def _piece(self, text: str, thinking: str | None, entries: list[logprobs.Entry] | None) -> bytes:
        thinking = None if self._plan.think is False else thinking or None
        if self._plan.quiet or not (text or thinking or entries):
            return b""
        if not self._plan.stream or self._plan.turns is not None:
            self._text.append(text)
        if self._plan.stream:
            return lines.line(self._line(text, thinking, entries))
        self._thinking.append(thinking or "")
        self._logprobs += entries or ()
        return b""

    def _called(self, call: ToolCall | str | None) -> bytes:
        if isinstance(call, str):
            return self._piece(call, None, None)
        if call is None or self._plan.quiet or not self._plan.chat:
            return b""
        if not self._plan.stream:
            self._tool_calls.append(call)
            return b""
        line = self._line("", None, None)
        if isinstance(line, lines.ChatLine):
            line.message.tool_calls = [call]
        return lines.line(line)

    def _line(
        self, text: str, thinking: str | None, entries: list[dict[str, Any]] | None
    ) -> lines.ChatLine | lines.GenerateLine:
        now, done = timestamp(self._clock.wall()), False
        if self._plan.chat:
            return lines.ChatLine(self._name, now, lines.Reply("assistant", text, thinking), done, entries)
        return lines.GenerateLine(self._name, now, text, done, thinking, entries)

    def _context(self) -> list[int] | None:
        if self._plan.turns is None:
            return None
        return context.encode([*self._plan.turns, {"role": "assistant", "content": "".join(self._text)}])

    def _metrics(self) -> lines.Metrics:
        now, times = self._clock.steady(), self._times
        first = times.first if times.first is not None else now
        return lines.Metrics(
            total_duration=nanoseconds(now - times.arrived),
            load_duration=nanoseconds(times.held),
            prompt_eval_count=max(1, self._usage.prompt_tokens),
            prompt_eval_duration=nanoseconds(first - times.sent),
            eval_count=max(1, self._usage.completion_tokens or 0),
            eval_duration=nanoseconds(now - first),
        )
