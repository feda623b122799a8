"""Whether a start still gets anywhere: new lines, bytes read, work done. A start that does none of it hangs.

Looks at every process of the engine's session in /proc. A process that spins is taken for one that works: for that
there is the bound of the whole start.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dormouse_runtime.supervisor.choose import bare

SAMPLE_SECONDS = 5.0
WORKS = 0.05
"""Part of a processor over a sample that is work: what waits in a poll takes a hundredth."""
READS = 2**18
"""Bytes read in a sample that are progress."""
REMEMBERED = 16
"""Lines that say nothing new when they come again, as those of a process that waits for another."""


@dataclass(frozen=True)
class Work:
    """What a session has done so far."""

    cpu: float
    read: int


def work(session: int, proc: Path = Path("/proc")) -> Work:
    """Processor seconds and bytes read of all processes of `session` that still are."""
    cpu, read = 0.0, 0
    tick = os.sysconf("SC_CLK_TCK")
    for stat in proc.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) != session:
                continue
            cpu += (int(fields[11]) + int(fields[12])) / tick
            counted = dict(line.split(": ") for line in stat.with_name("io").read_text().splitlines())
        except (OSError, ValueError, IndexError):
            continue  # it has ended meanwhile
        read += int(counted.get("rchar", 0)) + int(counted.get("read_bytes", 0))
    return Work(cpu, read)


class Pulse:
    """When an engine last got anywhere. `heard` is called with each of its lines, `quiet` at every poll."""

    def __init__(self, look: Callable[[], Work], now: float) -> None:
        self._look = look
        self._moved = self._sampled = now
        self._known: Work | None = None
        self._lines: deque[str] = deque(maxlen=REMEMBERED)
        self._news = False

    def heard(self, line: str) -> None:
        """The engine said something; only what it has not just said is news."""
        words = bare(line).strip()
        if words not in self._lines:
            self._lines.append(words)
            self._news = True

    def quiet(self, now: float) -> float:
        """Seconds since anything moved."""
        if self._known is None or now - self._sampled >= SAMPLE_SECONDS:
            self._sample(now)
        if self._news:
            self._moved, self._news = now, False
        return now - self._moved

    def _sample(self, now: float) -> None:
        before, self._known = self._known, self._look()
        if before is not None:
            worked = self._known.cpu - before.cpu >= WORKS * (now - self._sampled)
            if worked or self._known.read - before.read >= READS:
                self._moved = now
        self._sampled = now
