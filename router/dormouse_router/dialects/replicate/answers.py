"""What an engine says, piece by piece, and the numbers that come with it. Pure: files are somebody else's.

A model that thinks says so in its output, between `<think>` and `</think>`, as such models do on Replicate.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dormouse_router.dialects import sse
from dormouse_router.dialects.chunks import decode
from dormouse_router.dialects.complaints import error_status, error_text
from dormouse_router.dialects.translating import UNREADABLE, AnswerError
from dormouse_router.request import Refusal

MOST_OUTPUT = 4 * 1024 * 1024
"""Bytes of an output, files apart."""
_OPEN, _CLOSE = "<think>\n", "\n</think>\n\n"
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?((?:;[\w=.+-]+)*?)(;base64)?,", re.ASCII)


@dataclass(slots=True)
class Output:
    """What has been made so far. A list, or at the end one value."""

    pieces: list[Any] = field(default_factory=list)
    single: bool = False
    """It is not a list: the one piece is all of it."""
    _size: int = 0

    def add(self, piece: Any) -> None:
        """Refusal where it becomes too large."""
        self._size += len(piece) if isinstance(piece, str) else len(msgspec.json.encode(piece))
        if self._size > MOST_OUTPUT:
            text = f"The output is larger than {MOST_OUTPUT} bytes: ask for less, or have the model return files."
            raise Refusal(502, text)
        self.pieces.append(piece)

    def shown(self, *, ended: bool) -> Any:
        """As clients see it. Until the end nobody knows whether one piece is a list of one."""
        if self.single:
            return self.pieces[0] if ended and self.pieces else None
        return [*self.pieces] if self.pieces or ended else None


class Words:
    """A language model's stream."""

    def __init__(self) -> None:
        self._events = sse.Events()
        self._thinking = False
        self.prompt_tokens, self.completion_tokens = 0, 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """What `piece` of the stream says. AnswerError where the engine failed, or talks nonsense."""
        try:
            for data in self._events.feed(piece):
                if data != sse.DONE:
                    yield from self._event(data)
        except UNREADABLE as error:
            raise AnswerError(f"the engine sent a stream that cannot be read: {error}") from error

    def _event(self, data: bytes) -> Iterator[str]:
        chunk = decode(data)
        if chunk.error:
            raise AnswerError(error_text(chunk.error), error_status(chunk.error))
        if chunk.usage is not None:
            self.prompt_tokens = chunk.usage.prompt_tokens
            self.completion_tokens = chunk.usage.completion_tokens or 0
        for choice in chunk.choices[:1]:
            delta = choice.delta
            thought = (delta.reasoning or delta.reasoning_content) if delta is not None else None
            said = delta.content if delta is not None else choice.text
            if thought:
                yield thought if self._thinking else _OPEN + thought
                self._thinking = True
            if said:
                yield _CLOSE + said if self._thinking else said
                self._thinking = False


class _Event(msgspec.Struct):
    output: Any = msgspec.UNSET
    done: bool = False
    list: bool | None = None
    error: str | None = None
    status: int = 500


class Pieces:
    """The stream of a model with Python of its own."""

    def __init__(self) -> None:
        self._events = sse.Events()
        self._count = 0
        self.single: bool | None = None
        """Whether its one piece is all of the answer; None: the engine has not come to its end."""

    def feed(self, piece: bytes) -> Iterator[Any]:
        """AnswerError as of `Words`."""
        try:
            for data in self._events.feed(piece):
                event = msgspec.json.decode(data, type=_Event)
                if event.error is not None:
                    raise AnswerError(event.error, event.status)
                if event.output is not msgspec.UNSET:
                    self._count += 1
                    yield event.output
                if event.done:
                    self.single = self._count == 1 and not event.list
        except UNREADABLE as error:
            raise AnswerError(f"the engine sent a stream that cannot be read: {error}") from error


class _Picture(msgspec.Struct):
    b64_json: str


class _Pictures(msgspec.Struct):
    data: list[_Picture]


def pictures(body: bytes) -> list[bytes]:
    """The pictures in an answer of /v1/images/generations: for a thread. AnswerError where there are none."""
    try:
        found = msgspec.json.decode(body, type=_Pictures).data
        return [base64.b64decode(each.b64_json, validate=True) for each in found]
    except (msgspec.DecodeError, binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise AnswerError(f"the engine sent pictures that cannot be read: {error}") from error


def has_file(value: Any) -> bool:
    """Whether a data URL is in it."""
    if isinstance(value, str):
        return value.startswith("data:") and _DATA_URL.match(value) is not None
    if isinstance(value, dict):
        return any(map(has_file, value.values()))
    return isinstance(value, list) and any(map(has_file, value))


def opened(url: str) -> tuple[str, bytes] | None:
    """Media type and bytes of a data URL in base64: for a thread. None where it is none."""
    found = _DATA_URL.match(url)
    if found is None or not found[3]:
        return None
    try:
        return found[1] or "application/octet-stream", base64.b64decode(url[found.end() :], validate=True)
    except (binascii.Error, ValueError):
        return None
