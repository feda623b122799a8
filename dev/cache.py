"""The machine-wide cache of things this project builds: binaries, images, environments, tiny models.

Owns where the cache lives, how an entry is named after its inputs, and that an entry appears whole or not at all.
It knows nothing about what is built. Standard library only: it runs before any virtual environment exists.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_HEARTBEAT_SECONDS = 30.0
_KEY_LENGTH = 16  # hex digits: 64 bits, far beyond the few hundred entries a machine ever holds


def root() -> Path:
    """The cache's folder: `$DORMOUSE_CACHE`, else `$XDG_CACHE_HOME/dormouse`, else `~/.cache/dormouse`."""
    chosen = os.environ.get("DORMOUSE_CACHE")
    if chosen:
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "dormouse"


def key(*inputs: str | bytes | Path) -> str:
    """Names an entry after everything that decides its content.

    A string or bytes counts as itself, a file as its bytes, a folder as its files' relative names and bytes.
    File names outside a folder do not count, so the same sources in two clones share one entry.
    """
    digest = hashlib.sha256()
    for item in inputs:
        for part in _parts(item):
            digest.update(len(part).to_bytes(8, "big"))  # so that ("ab", "c") and ("a", "bc") differ
            digest.update(part)
    return digest.hexdigest()[:_KEY_LENGTH]


def _parts(item: str | bytes | Path) -> Iterator[bytes]:
    if isinstance(item, str):
        yield b"text"
        yield item.encode()
    elif isinstance(item, bytes):
        yield b"bytes"
        yield item
    elif item.is_dir():
        yield b"folder"
        for path in sorted(p for p in item.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
            yield path.relative_to(item).as_posix().encode()
            yield path.read_bytes()
    else:
        yield b"file"
        yield item.read_bytes()


def entry(kind: str, name: str) -> Path:
    """Where the entry lies (or would lie): `<root>/<kind>/<name>`, always a folder."""
    return root() / kind / name


def publish(kind: str, name: str, build: Callable[[Path], None], *, what: str, expect: str = "") -> Path:
    """Returns the entry's folder, building it first when it is not there yet.

    `build` fills an empty folder. The entry is renamed into place when `build` returns, so a killed build leaves
    nothing that could be mistaken for a result, and two processes that want the same entry build it once: the
    second waits. `what` and `expect` (for example "about 8 minutes, once per machine") go to the progress lines.
    """
    final = entry(kind, name)
    if final.is_dir():
        return final
    final.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(final.with_name(f".{name}.lock"), what):
        if final.is_dir():
            return final
        started = time.monotonic()
        say(f"building {what}" + (f" ({expect})" if expect else ""))
        # Under the lock nobody else can own this name's scratch folder, so one left by a killed build may go.
        scratch = final.with_name(f".{name}.partial")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        try:
            with _heartbeat(f"still building {what}", started):
                build(scratch)
            scratch.rename(final)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        say(f"built {what} in {time.monotonic() - started:.1f} s")
    return final


@contextlib.contextmanager
def _heartbeat(words: str, started: float) -> Iterator[None]:
    """Says every half minute that work goes on: a compiler may be silent for eight minutes."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_HEARTBEAT_SECONDS):
            say(f"{words} ({time.monotonic() - started:.0f} s)")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextlib.contextmanager
def _only_one(lock: Path, what: str) -> Iterator[None]:
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: another process is building {what}")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def say(message: str) -> None:
    """One progress line on stderr, so that a command's own output stays clean."""
    print(f"[dormouse] {message}", file=sys.stderr, flush=True)
