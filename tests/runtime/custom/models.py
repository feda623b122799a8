"""Classes as administrators write them: one that does everything, and one for each way to fail."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dormouse_runtime.custom import File, InputError, read_file

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "do": {"enum": ["say", "count", "file", "fail", "refuse", "nan", "wait", "object", "half", "bytes", "many"]},
        "times": {"type": "integer", "minimum": 0, "maximum": 100},
        "file": {"type": "string"},
        "more": {"type": "array", "items": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    },
    "required": ["do"],
    "additionalProperties": False,
}


class Everything:
    """Notes what happens to it. `gate` is waited for by `wait`, and between the pieces of `many`."""

    input_schema = SCHEMA
    output_schema = {"type": ["string", "number"]}  # noqa: RUF012 - as its author would write it

    def __init__(self) -> None:
        self.folder, self.config = "", dict[str, str]()
        self.threads = set[int]()
        self.closed = 0
        self.gate, self.begun = threading.Event(), threading.Event()

    def load(self, folder: str, config: Mapping[str, str]) -> None:
        self.folder, self.config = folder, dict(config)
        self.threads.add(threading.get_ident())

    def predict(self, input: dict[str, Any]) -> Any:  # noqa: A002 - the word of the contract
        self.threads.add(threading.get_ident())
        return getattr(self, f"_{input['do']}")(input)

    def unload(self) -> None:
        Path(self.folder, "unloaded").touch()

    def _say(self, _: Any) -> str:
        return f"{self.folder} {self.config}"

    def _count(self, given: Any) -> Iterator[int]:
        yield from range(given["times"])

    def _file(self, given: Any) -> File:
        found = read_file(given["file"])
        return File(found.data[::-1], found.media_type)

    def _fail(self, _: Any) -> None:
        raise KeyError("no such colour")

    def _refuse(self, _: Any) -> None:
        raise InputError("times: an odd number is wanted")

    def _nan(self, _: Any) -> float:
        return float("nan")

    def _object(self, _: Any) -> object:
        return object()

    def _bytes(self, _: Any) -> bytes:
        return b"\0\1"

    def _half(self, _: Any) -> Iterator[int]:
        yield 1
        raise ValueError("the second piece broke")

    def _wait(self, _: Any) -> str:
        self.begun.set()
        self.gate.wait(20)
        return "waited"

    def _many(self, _: Any) -> Iterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                self.begun.set()
                self.gate.wait(0.01)
        finally:
            self.closed += 1


class NoPredict:
    """Lacks the one thing that matters."""

    input_schema = SCHEMA

    def load(self, folder: str, config: Mapping[str, str]) -> None: ...


class Base(Everything):
    input_schema = SCHEMA


class Unbuildable(Base):
    def __init__(self) -> None:
        raise RuntimeError("the licence server is away")


class Unloadable(Base):
    def load(self, folder: str, config: Mapping[str, str]) -> None:
        raise ValueError(f"no such currency: {config.get('currency')}")


class TooBig(Base):
    def load(self, folder: str, config: Mapping[str, str]) -> None:
        raise MemoryError("cannot allocate 40 GiB")


class NoSchema(Base):
    input_schema = None  # type: ignore[assignment] # what is wrong with it


class WrongSchema(Base):
    input_schema = {"type": "objekt"}  # noqa: RUF012


class LongSchema(Base):
    input_schema = {"description": "x" * 20_000}  # noqa: RUF012


class OddSchema(Base):
    input_schema = {"enum": [object()]}  # noqa: RUF012


class Elsewhere(Base):
    input_schema = {"$ref": "http://127.0.0.1:9/schema.json"}  # noqa: RUF012


class Late(Base):
    """Knows its schema once it is loaded."""

    input_schema: Any = None

    def load(self, folder: str, config: Mapping[str, str]) -> None:
        self.input_schema = {"type": "integer", "maximum": int(config["most"])}

    def predict(self, input: Any) -> Any:  # noqa: A002
        return input + 1
