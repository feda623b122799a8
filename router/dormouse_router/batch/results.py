"""The error file's lines for lines that no engine was asked. Pure. `answers` has those of answers.

What is made of one line is always the same, whoever makes it.
"""

from collections.abc import Collection

import msgspec

from dormouse_router.batch.answers import request_id
from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batch.splitting import Splitter

EXPIRED = "batch_expired", "This request could not be executed before the completion window expired."
CANCELLED = "batch_cancelled", "This request was not executed, because the batch was cancelled."
_encode = msgspec.json.encode


class _Named(msgspec.Struct):
    custom_id: str = ""


_named = msgspec.json.Decoder(_Named)


def why(batch: Batch) -> tuple[str, str]:
    """Why lines of a sealed batch have no answer: it was late if it was not stopped before."""
    return CANCELLED if batch.finalizing_at is None else EXPIRED


class Unanswered:
    """The error file's lines for lines that were never asked, out of the input, fed in order."""

    def __init__(self, batch: Batch, numbers: Collection[int]) -> None:
        self._batch, self._numbers, self._why = batch, numbers, why(batch)
        self._splitter = Splitter()
        self._number = 0

    def feed(self, piece: bytes) -> bytes:
        return self._told(self._splitter.feed(piece))

    def end(self) -> bytes:
        return self._told(self._splitter.end())

    def _told(self, texts: list[bytes]) -> bytes:
        first = self._number + 1
        self._number += len(texts)
        return b"".join(self._line(text, at) for at, text in enumerate(texts, first) if at in self._numbers)

    def _line(self, text: bytes, number: int) -> bytes:
        code, message = self._why
        told = {
            "id": request_id(self._batch.id, number),
            "custom_id": _named.decode(text).custom_id,
            "response": None,
            "error": {"code": code, "message": message},
        }
        return _encode(told) + b"\n"
