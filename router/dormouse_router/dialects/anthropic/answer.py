"""From the engine's answer to Anthropic's message: whole, or as a stream of events fed with bytes. Pure."""

from typing import Any

import msgspec

from dormouse_router.dialects import chunks
from dormouse_router.dialects.anthropic import shapes
from dormouse_router.dialects.anthropic.blocks import Blocks
from dormouse_router.dialects.anthropic.translate import Plan
from dormouse_router.dialects.complaints import error_status, error_text
from dormouse_router.dialects.thinking import Splitter
from dormouse_router.dialects.translating import AnswerError, Translation

_GIVEN_UP = ("abort", "error")


class _Choice(msgspec.Struct):
    message: chunks.Delta
    finish_reason: str | None = None
    stop_reason: int | str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: chunks.Usage | None = None


_completion = msgspec.json.Decoder(_Completion).decode


def whole(body: bytes, plan: Plan, name: str) -> bytes:
    """The message for an answer that was not streamed. `name`: as the client wrote it."""
    try:
        found = _completion(body)
        choice = found.choices[0]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError) as error:
        raise AnswerError(f"the engine sent an answer that cannot be read: {error}") from error
    if choice.finish_reason in _GIVEN_UP:
        raise AnswerError("the engine gave the answer up: send the request again")
    ident = shapes.message_id()
    message = shapes.message(ident, name, found.usage or chunks.Usage())
    message["content"] = content = _content(choice.message, plan, ident)
    called = any(block["type"] == "tool_use" for block in content)
    message["stop_reason"], message["stop_sequence"] = _stop(choice.finish_reason, choice.stop_reason, called)
    return shapes.whole(message)


def _content(said: chunks.Delta, plan: Plan, ident: str) -> list[dict[str, Any]]:
    text, thoughts = said.content or "", said.reasoning or said.reasoning_content or ""
    if plan.tagged and not thoughts:
        splitter = Splitter()
        (text, thoughts), (tail, late) = splitter.feed(text), splitter.end()
        text, thoughts = text + tail, thoughts + late
    blocks: list[dict[str, Any]] = []
    if thoughts and plan.show_thinking:
        shown = "" if plan.sign_only else thoughts
        blocks.append({"type": "thinking", "thinking": shown, "signature": shapes.signature(ident)})
    calls = [_call(call) for call in said.tool_calls or ()]
    if text and not (text.isspace() and (blocks or calls)):
        blocks.append({"type": "text", "text": text})
    return blocks + calls


def _call(call: chunks.ToolDelta) -> dict[str, Any]:
    """A call; as text where its arguments are no object, so that nobody runs half of one that was cut short."""
    function = call.function or chunks.FunctionDelta()
    name, text = function.name or "", function.arguments or ""
    try:
        arguments = msgspec.json.decode(text.strip() or "{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        return {"type": "text", "text": f"{name}({text})"}
    return {"type": "tool_use", "id": shapes.tool_id(), "name": name, "input": arguments}


def _stop(finish: str | None, stopped_by: int | str | None, called: bool) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence`. A forced call ends with "stop", so what was said counts, not the word."""
    if finish == "length":
        return "max_tokens", None
    if finish == "content_filter":
        return "refusal", None
    if called:
        return "tool_use", None
    return ("stop_sequence", stopped_by) if isinstance(stopped_by, str) else ("end_turn", None)


class Stream(Translation):
    """`feed` it, and end it with `finish`; both give the events to send, whole ones only."""

    def __init__(self, plan: Plan, name: str) -> None:
        super().__init__()
        self._name, self._show = name, plan.show_thinking
        self._id = shapes.message_id()
        self._blocks = Blocks(shapes.signature(self._id), sign_only=plan.sign_only)
        self._splitter = Splitter() if plan.tagged else None
        self._begun = False
        self._end: tuple[str | None, int | str | None] | None = None
        self.usage = chunks.Usage()

    def begin(self) -> bytes:
        """message_start, the first time; may be asked for before the engine has said anything."""
        if self._begun:
            return b""
        self._begun = True
        return shapes.event("message_start", message=shapes.message(self._id, self._name, self.usage))

    def finish(self) -> bytes:
        """The end of the message. AnswerError where the engine stopped before it was done."""
        if self._failure is not None:
            raise self._failure
        if self._end is None:
            raise AnswerError("the engine ended its answer before it was complete: send the request again")
        last = self._blocks.end()
        return last + shapes.end(*_stop(*self._end, self._blocks.called), self.usage)

    def _event(self, data: bytes) -> bytes:
        chunk = chunks.decode(data)
        if chunk.error is not None:
            raise AnswerError(error_text(chunk.error), error_status(chunk.error))
        if chunk.usage is not None:
            self.usage = chunk.usage
        out = b"" if self._begun else self.begin()
        return out + self._choice(chunk.choices[0]) if chunk.choices else out

    def _choice(self, choice: chunks.Choice) -> bytes:
        delta, out = choice.delta, b""
        if delta is not None:
            if delta.reasoning or delta.reasoning_content:
                out = self._thought(delta.reasoning or delta.reasoning_content or "")
            if delta.content:
                out += self._text(delta.content)
            for call in delta.tool_calls or ():
                out += self._blocks.call(call)
        if choice.finish_reason is not None:
            if choice.finish_reason in _GIVEN_UP:
                raise AnswerError("the engine gave the answer up: send the request again")
            self._end = (choice.finish_reason, choice.stop_reason)
            if self._splitter is not None:
                out += self._split(*self._splitter.end())
        return out

    def _text(self, text: str) -> bytes:
        return self._blocks.text(text) if self._splitter is None else self._split(*self._splitter.feed(text))

    def _split(self, text: str, thoughts: str) -> bytes:
        out = self._thought(thoughts) if thoughts else b""
        return out + self._blocks.text(text) if text else out

    def _thought(self, text: str) -> bytes:
        return self._blocks.thought(text) if self._show else b""
