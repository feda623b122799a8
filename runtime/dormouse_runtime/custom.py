"""What a model of your own looks like: the contract of the class that a RuntimeProfile names as its entry point.

    class Model:
        input_schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}

        def load(self, folder, config): ...
        def predict(self, input): return input["text"].upper()
        def unload(self): ...

All of it runs in one thread, one call at a time. docs/custom.md tells the rest. The standard library only.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

OCTETS = "application/octet-stream"
_DATA_URL = re.compile(r"data:([A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+)?(;[a-z]+=[^;,]*)*;base64,")


class InputError(ValueError):
    """Raise it from `predict` for an input that is of the schema and wrong all the same: the caller is told 422."""


class Model(Protocol):
    """The class. Its constructor takes nothing."""

    input_schema: Mapping[str, Any]
    """JSON Schema 2020-12 of what `predict` takes; read after `load`, 16,384 characters at most. Inputs that do not
    fit never come to `predict`."""
    # output_schema, if it is there, is told to clients and not checked.

    def load(self, folder: str, config: Mapping[str, str]) -> None:
        """Make ready for calls. `folder` holds the weights, read-only; `config` is the profile's."""
        ...

    def predict(self, input: Any) -> Any:  # noqa: A002 - the word of the contract
        """The answer: plain JSON values, bytes, or a `File`; or an iterator (a generator) of these, for streams."""
        ...

    def unload(self) -> None:
        """The pod ends: nothing runs any more."""
        ...


@dataclass(frozen=True)
class File:
    """Bytes with their media type. In JSON it is a base64 data URL."""

    data: bytes
    media_type: str = OCTETS

    def url(self) -> str:
        """data:<type>;base64,<data>"""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode()}"


def read_file(url: str) -> File:
    """The file of a base64 data URL, as inputs hold them. InputError where it is none."""
    head = _DATA_URL.match(url)
    if head is None:
        raise InputError(f"{url[:40]!r} is no file: send it as data:<type>;base64,<data>")
    try:
        return File(base64.b64decode(url[head.end() :], validate=True), head[1] or OCTETS)
    except binascii.Error as error:
        raise InputError(f"the data of a file is not base64: {error}") from error
