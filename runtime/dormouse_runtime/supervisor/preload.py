"""Reads the weights into the page cache while the engine still imports its libraries.

Only as much as fits beside the engine: a page cache that evicts itself helps nobody.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

BLOCK = 4 * 2**20
"""Counts as the supervisor's own memory: larger ones read no faster."""


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes the kernel could give without swapping."""
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


class Preload:
    """One reading thread; `stop` ends it at the next block."""

    def __init__(self, files: Sequence[Path], budget: int) -> None:
        self.bytes = 0
        self._files = files
        self._budget = budget
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="preload", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    def _run(self) -> None:
        block = bytearray(BLOCK)
        for path in self._files:
            # A file that cannot be read is the engine's to report.
            with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
                while not self._stop.is_set() and self.bytes < self._budget and (read := file.readinto(block)):
                    self.bytes += read
