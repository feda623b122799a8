"""From the engine's stream to the native one, or to one whole answer in Ollama's shape; pure but for the clock.

The engine is always asked to stream: only so are the durations measured ones, and a history gets whole answers.
"""

from typing import Any

import msgspec

from dormouse_router.dialects import chunks
from dormouse_router.dialects.ollama.durations import nanoseconds, timestamp
from dormouse_router.dialects.ollama.tools import Calls, ToolCall
from dormouse_router.dialects.thinking import Splitter
from dormouse_router.dialects.timed import Clock, Timed, Times
from dormouse_router.dialects.translating import AnswerError
from dormouse_router.keeping import Message

_GIVEN_UP = ("abort", "error")
_encode = msgspec.json.encode


def event(fields: dict[str, Any]) -> bytes:
    """One event of the stream."""
    return b"data: " + _encode(fields) + b"\n\n"


class Answer(Timed):
    """`feed` it, then `finish` it: the events of a stream, or nothing until the whole answer."""

    def __init__(self, name: str, clock: Clock, times: Times, *, stream: bool, tagged: bool) -> None:
        """`tagged`: the model may write its reasoning into its text, between tags."""
        super().__init__(clock, times)
        self._name, self._stream = name, stream
        self._splitter = Splitter() if tagged else None
        self._calls = Calls(f"{name}/{times.arrived}")
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._called: list[ToolCall] = []

    def kept(self) -> Message:
        """The answer as a message of the history."""
        message: Message = {"role": "assistant", "content": "".join(self._text)}
        if self._called:
            message["tool_calls"] = [_as_sent(call) for call in self._called]
        return message

    def finish(self, more: dict[str, Any]) -> bytes:
        """The last event, or the whole answer; `more` goes into it."""
        end = {"done": True, "done_reason": self._reason, **self._metrics(), **more}
        now = timestamp(self._clock.wall())
        if self._stream:
            return event({"delta": {"content": ""}, "model": self._name, "created_at": now, **end})
        message: Message = {"role": "assistant", "content": "".join(self._text)}
        if self._thinking:
            message["thinking"] = "".join(self._thinking)
        if self._called:
            message["tool_calls"] = self._called
        return _encode({"model": self._name, "created_at": now, "message": message, **end})

    def _choice(self, choice: chunks.Choice) -> bytes:
        delta, out = choice.delta, b""
        if delta is not None:
            if thoughts := delta.reasoning or delta.reasoning_content:
                out = self._thought(thoughts)
            if delta.content:
                out += self._said(delta.content)
            for part in delta.tool_calls or ():
                out += self._call(self._calls.feed(part))
        if choice.finish_reason is not None:
            out += self._end(choice.finish_reason)
        return out

    def _end(self, reason: str) -> bytes:
        if reason in _GIVEN_UP:
            raise AnswerError("the engine gave the answer up: send the request again")
        out = b""
        if self._splitter is not None:
            text, thoughts = self._splitter.end()
            out = self._thought(thoughts) + self._piece(text)
        out += self._call(self._calls.end())
        self._reason = "length" if reason == "length" else "stop"
        return out

    def _said(self, text: str) -> bytes:
        if self._splitter is None:
            return self._piece(text)
        text, thoughts = self._splitter.feed(text)
        return self._thought(thoughts) + self._piece(text)

    def _piece(self, text: str) -> bytes:
        if not text:
            return b""
        self._text.append(text)
        return b'data: {"delta":{"content":' + _encode(text) + b'},"done":false}\n\n' if self._stream else b""

    def _thought(self, text: str) -> bytes:
        if not text:
            return b""
        self._thinking.append(text)
        return event({"delta": {"content": "", "thinking": text}, "done": False}) if self._stream else b""

    def _call(self, call: ToolCall | str | None) -> bytes:
        """A call goes out whole, with an object of arguments; as text where they are none."""
        if call is None or isinstance(call, str):
            return self._piece(call or "")
        self._called.append(call)
        return event({"delta": {"content": "", "tool_calls": [call]}, "done": False}) if self._stream else b""

    def _metrics(self) -> dict[str, int]:
        now, times = self._clock.steady(), self._times
        first = times.first if times.first is not None else now
        prompt, completion = self.tokens
        return {
            "total_duration": nanoseconds(now - times.arrived),
            "load_duration": nanoseconds(times.held),
            "prompt_eval_count": prompt,
            "prompt_eval_duration": nanoseconds(first - times.sent),
            "eval_count": completion,
            "eval_duration": nanoseconds(now - first),
        }


def _as_sent(call: ToolCall) -> dict[str, Any]:
    """A call in the form in which engines want it back."""
    function = call["function"]
    arguments = _encode(function["arguments"]).decode()
    return {"id": call["id"], "type": "function", "function": {"name": function["name"], "arguments": arguments}}
