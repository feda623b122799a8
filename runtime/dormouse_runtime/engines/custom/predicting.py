"""One prediction, in the model's thread: the class's answer as JSON, piece by piece. Knows nothing of HTTP."""

from __future__ import annotations

import inspect
import itertools
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dormouse_runtime.custom import File, InputError
from dormouse_runtime.engines.custom.loading import Loaded

log = logging.getLogger(__name__)

MAX_OUTPUT = 48 * 2**20
"""Bytes of all pieces together: less than routers gather of an answer."""
MAX_WORDS = 600
MOST_FAULTS = 8
MOST_LOOKED_AT = 100
"""An array of a million wrong things has a million faults."""


class PredictError(Exception):
    """There is no answer; the sentence is for the caller."""


class WrongInputError(Exception):
    """The input is not what the model takes: (path, what is wrong), the most telling first."""

    def __init__(self, faults: list[tuple[str, str]]) -> None:
        super().__init__(faults[0][1])
        self.faults = faults


@dataclass(frozen=True)
class Piece:
    """A part of an answer, or all of it."""

    json: bytes
    one_of_many: bool
    """It came out of an iterator."""


def check(served: Loaded, given: Any) -> None:
    """WrongInputError where `given` is not of the model's schema."""
    errors = itertools.islice(served.validator.iter_errors(given), MOST_LOOKED_AT)
    found = sorted(errors, key=lambda error: len(error.absolute_path))
    if found:
        raise WrongInputError(
            [
                (".".join(["input", *map(str, error.absolute_path)]), error.message[:MAX_WORDS])
                for error in found[:MOST_FAULTS]
            ]
        )


def pieces(served: Loaded, given: Any) -> Iterator[Piece]:
    """The answer to `given`, each piece made when it is asked for. WrongInputError, PredictError."""
    size = 0
    for piece in _said(served, given):
        size += len(piece.json)
        if size > MAX_OUTPUT:
            raise PredictError(f"the output is larger than {MAX_OUTPUT} bytes")
        yield piece


def _said(served: Loaded, given: Any) -> Iterator[Piece]:
    answer = _called(served, lambda: served.model.predict(given))
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise PredictError(f"{served.path}.predict must be a plain function or generator, not an asynchronous one")
    if not isinstance(answer, Iterator):
        yield Piece(_json(served, answer), one_of_many=False)
        return
    end = object()
    try:
        while (item := _called(served, lambda: next(answer, end))) is not end:
            yield Piece(_json(served, item), one_of_many=True)
    finally:
        if close := getattr(answer, "close", None):
            close()


def _called(served: Loaded, call: Any) -> Any:
    """What the class's own code returns; whatever it raises is told."""
    try:
        return call()
    except InputError as error:
        raise WrongInputError([("input", str(error)[:MAX_WORDS])]) from error
    except Exception as error:
        log.exception("%s.predict failed", served.path)
        text = f"{served.path}.predict raised {type(error).__name__}: {error}"
        raise PredictError(text[:MAX_WORDS]) from error


def _json(served: Loaded, value: Any) -> bytes:
    try:
        return json.dumps(value, allow_nan=False, default=_plain, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise PredictError(f"{served.path}.predict returned what is not JSON: {error}"[:MAX_WORDS]) from error


def _plain(value: Any) -> Any:
    """JSON of what json does not know: files, and the numbers and arrays of numerical libraries."""
    if isinstance(value, (bytes, bytearray)):
        return File(bytes(value)).url()
    if isinstance(value, File):
        return value.url()
    if callable(listed := getattr(value, "tolist", None)):
        return listed()
    raise TypeError(
        f"a value of type {type(value).__name__}; return plain values, bytes or dormouse_runtime.custom.File"
    )
