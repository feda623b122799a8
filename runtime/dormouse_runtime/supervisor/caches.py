"""What engines compiled, kept on the cache volume: one folder per key, bounded in number and bytes.

A key stands for engine version, weights, flags and processor, so a folder is only ever used again as it is, and one
of another engine version never. Who runs holds a lock on its folder, which ends with its process however that ends:
what some pod uses is never removed. Knows nothing of what is in a folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dormouse_api.runtime import CACHE_BYTES

STAMP = ".engine"
"""In each folder: the engine and version it is for; its time is when that last started."""
GOING = ".going-"
"""What is being removed: half a cache must never be taken for one."""
KEEP = 4
"""Folders that stay beside those in use, for a way back to other flags or weights."""
GRACE = 3600.0
"""Seconds that another engine version's folder stays after its last start: a rollout may still be taken back."""


@dataclass(frozen=True)
class Kept:
    """One folder. `used`: seconds since the epoch."""

    name: str
    maker: str
    used: float
    bytes: int


def surplus(kept: Sequence[Kept], maker: str, now: float) -> tuple[Kept, ...]:
    """What may go of the folders that nobody uses: of other versions, and beyond KEEP and CACHE_BYTES, oldest first.

    Pure.
    """
    old = tuple(one for one in kept if one.maker != maker and one.used < now - GRACE)
    rest = sorted((one for one in kept if one not in old), key=lambda one: one.used, reverse=True)
    gone, total = [], 0
    for place, one in enumerate(rest):
        total += one.bytes
        if place >= KEEP or total > CACHE_BYTES:
            gone.append(one)
    return (*old, *gone)


class Caches:
    """The folders of one engine, all in the same parent."""

    def __init__(self, folder: Path | None, maker: str, clock: Callable[[], float] = time.time) -> None:
        """`folder` is the one that this process uses, made when it is first used; None: the engine keeps nothing."""
        self._folder = folder
        self._maker = maker
        self._clock = clock
        self._held: int | None = None

    def use(self) -> None:
        """Mark the folder as in use until this process ends. A volume that takes no writes is no reason to stop."""
        if self._folder is None or self._held is not None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / STAMP).write_text(self._maker)
            os.utime(self._folder / STAMP, (self._clock(), self._clock()))
            self._held = os.open(self._folder, os.O_RDONLY)
            # Fails while another pod just removes it: then the engine makes a folder of its own, as on a first start.
            fcntl.flock(self._held, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def release(self) -> None:
        """The folder is in use no more."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def prune_aside(self) -> None:
        """Prune in a thread that nobody waits for: what the pod's end cuts off is finished by the next one."""
        threading.Thread(target=self.prune, name="prune", daemon=True).start()

    def prune(self) -> tuple[str, ...]:
        """Remove what is too much; the names of what went. Reads and removes files: not for an event loop."""
        if self._folder is None:
            return ()
        try:
            folders = [one for one in self._folder.parent.iterdir() if one.is_dir() and one != self._folder]
        except OSError:
            return ()
        for half in folders:
            if half.name.startswith(GOING):
                shutil.rmtree(half, ignore_errors=True)
        idle = [_kept(one) for one in folders if not one.name.startswith(GOING) and _unused(one)]
        gone = surplus(idle, self._maker, self._clock())
        return tuple(one.name for one in gone if _remove(self._folder.parent / one.name))


def _kept(folder: Path) -> Kept:
    try:
        maker, used = (folder / STAMP).read_text(), (folder / STAMP).stat().st_mtime
    except (OSError, UnicodeDecodeError):
        maker, used = "", 0.0  # of a version that left no stamp
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.lstat().st_size
    return Kept(folder.name, maker, used, size)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether no process uses `folder`, nor comes to use it meanwhile. Without locks in the file system: never."""
    held = None
    try:
        held = os.open(folder, os.O_RDONLY)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        alone = True
    except OSError:
        alone = False
    try:
        yield alone
    finally:
        if held is not None:
            os.close(held)


def _unused(folder: Path) -> bool:
    with _alone(folder) as alone:
        return alone


def _remove(folder: Path) -> bool:
    going = folder.with_name(f"{GOING}{folder.name}")
    with _alone(folder) as alone:
        if not alone:
            return False
        try:
            folder.rename(going)
        except OSError:
            return False
    shutil.rmtree(going, ignore_errors=True)
    return True
