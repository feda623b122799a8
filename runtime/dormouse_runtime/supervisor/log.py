"""The engine's output: split into lines, kept in a ring without secrets, and passed on to the pod's log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from dormouse_api.masking import without_secrets

KEPT_LINES = 200
MAX_LINE = 4000


class EngineLog:
    """The last lines an engine wrote."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def feed(self, data: bytes) -> None:
        """Take a piece of output. A carriage return ends a line too: progress bars use nothing else."""
        *whole, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in whole:
            self._take(line)
        if len(self._rest) > MAX_LINE:
            self.close()

    def close(self) -> None:
        """The output has ended: what is left is the last line."""
        rest, self._rest = self._rest, b""
        self._take(rest)

    def _take(self, raw: bytes) -> None:
        line = without_secrets(raw.decode(errors="replace").rstrip()[:MAX_LINE])
        if line:
            self.lines.append(line)
            self._on_line(line)
