"""Where the lines of the audit go: standard output, or a file that is replaced before it grows too large.

Writing blocks: it is done in a thread. Knows nothing of what a line says.
"""

import itertools
import os
import stat
import sys
from io import FileIO
from pathlib import Path
from typing import Protocol

OFF, STDOUT = "off", "stdout"
MOST_BYTES = 64 * 1024 * 1024
FILES = 5
"""Full ones that are kept beside the one that is written."""


class Lines(Protocol):
    """Takes lines of UTF-8."""

    def write(self, lines: bytes) -> None:
        """Whole ones. OSError or ValueError where they cannot be written."""
        ...

    def close(self) -> None: ...


def opened(where: str) -> Lines | None:
    """`off`, `stdout` or the path of a file; None where nothing is to be written. OSError where it cannot be opened."""
    if where == OFF:
        return None
    return _Out() if where == STDOUT else _File(where)


class _Out:
    def write(self, lines: bytes) -> None:
        sys.stdout.buffer.write(lines)
        sys.stdout.flush()

    def close(self) -> None:
        """It is not ours."""


class _File:
    """No library's: a handler of `logging` makes text of the lines, and bytes of the text, and lets nobody else run for
    as long as that takes: 1.5 ms for 6,000 of them alone, more in a router at work."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._file: FileIO | None = FileIO(self._path, "ab")

    def write(self, lines: bytes) -> None:
        file = self._file
        if file is not None:
            known = os.fstat(file.fileno())
            if stat.S_ISREG(known.st_mode) and known.st_size + len(lines) > MOST_BYTES:
                self._file = None  # until the next one could be opened
                file.close()
                self._replace()
        if self._file is None:
            self._file = FileIO(self._path, "ab")
        left = memoryview(lines)
        while left:
            left = left[self._file.write(left) :]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _replace(self) -> None:
        """Each full one is one older, and the oldest is gone."""
        names = [self._path, *(Path(f"{self._path}.{number}") for number in range(1, FILES + 1))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            if newer.exists():
                newer.replace(older)
