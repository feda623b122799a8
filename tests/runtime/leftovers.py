"""What lives of a pod may leave on a machine: files, processes, shared memory, semaphores. Looked for by a tag."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

SHARED = Path("/dev/shm")
PATIENCE = 5.0
"""Seconds for which a name must stay to be a leftover: the server of another test may just have let go of its memory
and be about to unlink it."""


@dataclass(frozen=True)
class Seen:
    files: dict[str, int]
    """Of the folders, with their sizes; folders have none."""
    processes: list[str]
    """Whose command line or environment holds the tag."""
    shared_memory: list[str]
    """POSIX shared memory and semaphores that were not there before and that no process has open."""


class Leftovers:
    """What is there beside what was there when this was made."""

    def __init__(self, tag: str, *folders: Path) -> None:
        self._tag = tag.encode()
        self._folders = folders
        self._before = _names(SHARED)

    def seen(self) -> Seen:
        files = {}
        for folder in self._folders:
            for path in folder.rglob("*"):
                files[str(path)] = path.lstat().st_size if path.is_file() else 0
        return Seen(files, self._processes(), self._shared_memory())

    def _shared_memory(self) -> list[str]:
        left, deadline = self._orphans(), time.monotonic() + PATIENCE
        while left:
            over = time.monotonic() >= deadline  # asked before the look: one look at a busy machine takes seconds
            left &= self._orphans()
            if over:
                break
            time.sleep(0.05)
        return sorted(left)

    def _orphans(self) -> set[str]:
        fresh = _names(SHARED) - self._before
        return fresh - _mapped() if fresh else set()

    def _processes(self) -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self._tag in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                    found.append(folder.name)
        return found


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _mapped() -> set[str]:
    """Names of shared memory that some process still maps or has open: another test's, on a shared machine."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found |= {line.rpartition("/dev/shm/")[2] for line in (folder / "maps").read_text().splitlines()}
        with contextlib.suppress(OSError):
            found |= {link.readlink().name for link in (folder / "fd").iterdir() if SHARED in link.readlink().parents}
    return found
