"""Safetensors files as a stream: headers read without touching the data, files written one piece of a tensor at a time.

The library's own writer wants every tensor of a file in memory; a shard of a large model has gigabytes. The format is
eight bytes of length, a JSON header, the data.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from dormouse_runtime.quantize.layout import Tensor

MAX_HEADER = 100 * 2**20
BLOCK = 16 * 2**20
MODE = 0o644
"""Readable for whichever user the runtime has: the library's own files are 0600."""


class HeaderError(Exception):
    """Not a safetensors file."""


def read_header(path: Path) -> tuple[list[Tensor], dict[str, tuple[int, int]]]:
    """The tensors of a file in the order of their data, and where each one's bytes are in the file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(MAX_HEADER, path.stat().st_size):
            raise HeaderError(f"{path.name} is no safetensors file")
        try:
            entries = json.loads(file.read(length))
        except ValueError as error:
            raise HeaderError(f"{path.name} is no safetensors file: {error}") from error
    entries.pop("__metadata__", None)
    places = {
        name: (8 + length + e["data_offsets"][0], 8 + length + e["data_offsets"][1]) for name, e in entries.items()
    }
    tensors = [Tensor(name, e["dtype"], tuple(e["shape"])) for name, e in entries.items()]
    if any(end > path.stat().st_size for _, end in places.values()):
        raise HeaderError(f"{path.name} is cut short")
    return sorted(tensors, key=lambda tensor: places[tensor.name]), places


def blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end`, in pieces."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end:
            piece = file.read(min(BLOCK, end - start))
            if not piece:
                raise HeaderError(f"{path.name} is cut short")
            start += len(piece)
            yield piece


class TensorFile:
    """Writes the tensors it was told of, in that order. On a clean end the file is on the disk, with its sha256."""

    def __init__(self, path: Path, tensors: Sequence[Tensor]) -> None:
        self.path = path
        self.size = 0
        self.sha256 = ""
        self._tensors = tensors
        self._digest = hashlib.sha256()
        self._expected = sum(tensor.bytes for tensor in tensors)
        self._file = path.open("wb")

    def __enter__(self) -> TensorFile:
        self._put(self._header())
        self._expected += self.size
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is not None:
                return
            if self.size != self._expected:
                raise ValueError(f"{self.path.name}: {self.size} bytes were written, {self._expected} were planned")
            self._file.flush()
            os.fsync(self._file.fileno())
        self.path.chmod(MODE)
        self.sha256 = self._digest.hexdigest()

    def write(self, data: bytes | memoryview) -> None:
        """The next bytes."""
        self._put(data)

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def _header(self) -> bytes:
        entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
        at = 0
        for tensor in self._tensors:
            place = [at, at := at + tensor.bytes]
            entries[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": place}
        text = json.dumps(entries, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text
