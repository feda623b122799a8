"""From the engine's answer to the response: whole, or as a stream of events fed with bytes; and told again. Pure."""

import time
from collections.abc import Sequence

import msgspec

from dormouse_router.dialects import chunks
from dormouse_router.dialects.complaints import error_status, error_text
from dormouse_router.dialects.openai.responses import objects
from dormouse_router.dialects.openai.responses.events import Events
from dormouse_router.dialects.openai.responses.items import Ids
from dormouse_router.dialects.openai.responses.objects import Object
from dormouse_router.dialects.openai.responses.output import Output
from dormouse_router.dialects.openai.responses.translate import Plan
from dormouse_router.dialects.thinking import Splitter
from dormouse_router.dialects.translating import AnswerError, Translation

_GIVEN_UP = ("abort", "error")
_CUT_SHORT = ("length", "content_filter")


class _Choice(msgspec.Struct):
    message: chunks.Delta
    finish_reason: str | None = None
    logprobs: dict[str, object] | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: chunks.Usage | None = None


_completion = msgspec.json.Decoder(_Completion).decode


def whole(body: bytes, plan: Plan, base: Object, ids: Ids) -> Object:
    """The response for an answer that was not streamed."""
    try:
        found = _completion(body)
        choice = found.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise AnswerError(f"the engine sent an answer that cannot be read: {error}") from error
    _check(choice.finish_reason)
    said, used = choice.message, found.usage or chunks.Usage()
    text, thoughts = said.content or "", said.reasoning or said.reasoning_content or ""
    if plan.tagged and not thoughts:
        splitter = Splitter()
        (text, thoughts), (tail, late) = splitter.feed(text), splitter.end()
        text, thoughts = text + tail, thoughts + late
    output = Output(Events(), ids)
    if thoughts:
        output.thought(thoughts)
    if text:
        output.text(text, objects.logprobs_of(choice.logprobs))
    for index, call in enumerate(said.tool_calls or ()):
        output.call(chunks.ToolDelta(index, call.id, call.function))
    output.end(_last(choice.finish_reason))
    if output.trouble:
        raise AnswerError(output.trouble)
    return objects.finished(base, output.items, used, choice.finish_reason, time.time())


def _check(finish: str | None) -> None:
    if finish in _GIVEN_UP:
        raise AnswerError("the engine gave the answer up: send the request again")


def _last(finish: str | None) -> str:
    """The status of the last item."""
    return "incomplete" if finish in _CUT_SHORT else "completed"


class Stream(Translation):
    """`feed` it until the engine has ended, then `close` it; both give the events to send, whole ones only.

    Then comes the response as it `became`, and its last event: between them it can be kept.
    """

    def __init__(self, plan: Plan, base: Object, ids: Ids) -> None:
        super().__init__()
        self._base = base
        self._numbered = Events()
        self._output = Output(self._numbered, ids)
        self._splitter = Splitter() if plan.tagged else None
        self._logprobs: list[Object] | None = [] if plan.logprobs else None
        """Of text that was kept back."""
        self._finish: str | None = None
        self._unsent = b""
        """Events that have their numbers and were not given."""
        self.begun = False
        self.usage = chunks.Usage()

    def begin(self) -> bytes:
        """The events that tell of the response itself, the first time."""
        if self.begun:
            return b""
        self.begun = True
        return self._numbered.begin(self._base)

    def close(self) -> bytes:
        """The ends of what is open. AnswerError where the engine stopped before it was done."""
        if self._failure is not None:
            raise self._failure
        if self._finish is None and not self._output.trouble:
            raise AnswerError("the engine ended its answer before it was complete: send the request again")
        out = self.begin() + self._output.end(_last(self._finish))
        if not self._output.trouble:
            return out
        self._unsent = out
        raise AnswerError(self._output.trouble)

    def became(self) -> Object:
        """The response, once closed."""
        return objects.finished(self._base, self._output.items, self.usage, self._finish, time.time())

    def broke(self, message: str, code: str = "server_error") -> tuple[bytes, Object]:
        """The ends of what is open, and the response that goes no further."""
        out = self._unsent + self.begin() + self._output.abandon()
        return out, objects.failed(self._base, self._output.items, message, code)

    def last(self, response: Object) -> bytes:
        """The last event."""
        return self._numbered.end(response)

    def _event(self, data: bytes) -> bytes:
        if self._output.trouble:
            raise AnswerError(self._output.trouble)
        chunk = chunks.decode(data)
        if chunk.error is not None:
            raise AnswerError(error_text(chunk.error), error_status(chunk.error))
        if chunk.usage is not None:
            self.usage = chunk.usage
        out = b"" if self.begun else self.begin()
        return out + self._choice(chunk.choices[0]) if chunk.choices else out

    def _choice(self, choice: chunks.Choice) -> bytes:
        delta, out = choice.delta, b""
        _check(choice.finish_reason)
        if self._logprobs is not None and choice.logprobs is not None:
            self._logprobs += objects.logprobs_of(choice.logprobs)
        if delta is not None:
            if delta.reasoning or delta.reasoning_content:
                out = self._output.thought(delta.reasoning or delta.reasoning_content or "")
            if delta.content:
                out += self._text(delta.content)
            for call in delta.tool_calls or ():
                out += self._output.call(call)
        if choice.finish_reason is not None:
            self._finish = choice.finish_reason
            if self._splitter is not None:
                out += self._split(*self._splitter.end())
        return out

    def _text(self, text: str) -> bytes:
        return self._say(text) if self._splitter is None else self._split(*self._splitter.feed(text))

    def _split(self, text: str, thoughts: str) -> bytes:
        out = self._output.thought(thoughts) if thoughts else b""
        return out + self._say(text) if text else out

    def _say(self, text: str) -> bytes:
        if not self._logprobs:
            return self._output.text(text)
        told, self._logprobs = self._logprobs, []
        return self._output.text(text, told)


class _Again(Ids):
    """The ids of items that were told before."""

    def __init__(self, items: Sequence[Object]) -> None:
        self._given = iter([item["id"] for item in items])

    def next(self, kind: str) -> str:
        return str(next(self._given))


def replay(response: Object) -> bytes:
    """The events of a response that is kept: each item in one piece."""
    events, items = Events(), response["output"]
    nothing = {"completed_at": None, "error": None, "incomplete_details": None, "usage": None}
    out = events.begin(response | nothing | {"status": "in_progress", "output": []})
    output = Output(events, _Again(items))
    for index, item in enumerate(items):
        if item["type"] == "message":
            part = item["content"][0]
            out += output.text(part["text"], part["logprobs"])
        elif item["type"] == "reasoning":
            out += output.thought(item["content"][0]["text"])
        else:
            function = chunks.FunctionDelta(item["name"], item["arguments"])
            out += output.call(chunks.ToolDelta(index, item["call_id"], function))
        out += output.close(item["status"])
    return out + events.end(response)
