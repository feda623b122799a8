"""Where the lines of the audit go: standard output, or a file that is replaced before it grows too large.

Writing blocks: it is done in a thread. Knows nothing of what a line says.
"""

import contextlib
import logging
import sys
from logging import LogRecord
from logging.handlers import RotatingFileHandler
from typing import Protocol

OFF, STDOUT = "off", "stdout"
MOST_BYTES = 64 * 1024 * 1024
FILES = 5
"""Full ones that are kept beside the one that is written."""


class Lines(Protocol):
    """Takes lines of text."""

    def write(self, text: str) -> None:
        """`text` ends without the end of its last line. OSError or ValueError where it cannot be written."""
        ...

    def close(self) -> None: ...


def opened(where: str) -> Lines | None:
    """`off`, `stdout` or the path of a file; None where nothing is to be written. OSError where it cannot be opened."""
    if where == OFF:
        return None
    return _Out() if where == STDOUT else _File(where)


class _Out:
    def write(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def close(self) -> None:
        """It is not ours."""


class _File:
    def __init__(self, path: str) -> None:
        self._handler = _Rotating(path, maxBytes=MOST_BYTES, backupCount=FILES, encoding="utf-8")

    def write(self, text: str) -> None:
        self._handler.emit(logging.makeLogRecord({"msg": text}))

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what it still holds was counted as lost when it could not be written
            self._handler.close()


class _Rotating(RotatingFileHandler):
    def handleError(self, record: LogRecord) -> None:  # noqa: N802 - the library's name
        raise
