"""Network namespaces: make one, step inside, remove it. Knows nothing of what runs there.

A namespace is kept alive by a bind mount on a file of ours rather than by `ip netns`, which leaves a mount of its own
on /run/netns for good. A namespace belongs to a thread: stepping inside moves the calling thread and the processes and
threads it starts there, and a socket stays in the namespace it was made in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def create(file: Path) -> None:
    """Makes a namespace with its loopback up and nothing else; does nothing when it is there."""
    if exists(file):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    subprocess.run(["unshare", f"--net={file}", "ip", "link", "set", "lo", "up"], check=True)


def exists(file: Path) -> bool:
    """Whether the file holds a namespace; a plain file of that name (left by a reboot) does not count."""
    return any(line.split(" ", 2)[1] == str(file) for line in Path("/proc/mounts").read_text().splitlines())


def delete(file: Path) -> None:
    """Lets go of the namespace: links, routes and rules inside vanish with the last process that used it."""
    while exists(file):
        subprocess.run(["umount", "--lazy", str(file)], check=True)
    file.unlink(missing_ok=True)


def enter(descriptor: int) -> None:
    """Moves the calling thread into the namespace behind an open descriptor."""
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)} (entering a network namespace needs root)")


def open_own() -> int:
    """A descriptor of the calling thread's namespace, to come back with `enter`."""
    return os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def inside(file: Path) -> Iterator[None]:
    """Runs the block with the calling thread in the namespace, then brings the thread back."""
    home = open_own()
    try:
        there = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)
