"""Loopback ports for processes that listen on them later: none is given twice while the first asker may still need it.

Knows sockets only.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections import deque

# Below the range from which the kernel gives ports to outgoing connections and to whoever asks for any port: one of
# those could take a port of ours between looking and listening.
_RANGE = range(15000, 32000)
_KEPT = 64
"""So many names are kept: whoever asked for the ports before these listens on them by now."""

_names: deque[int] = deque(maxlen=_KEPT)
"""Their sockets, which stay open until the process ends."""


def reserve(count: int = 1) -> list[int]:
    """Different ports on which nobody listens, and which no other process that asks here is given meanwhile."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_RANGE)  # noqa: S311 - no secret
        name = _named(port)
        if name is None:
            continue
        if not _free(port):
            name.close()
            continue
        if len(_names) == _KEPT:
            os.close(_names.popleft())
        _names.append(name.detach())
        found.append(port)
    return found


def _named(port: int) -> socket.socket | None:
    """A name that one process of the machine can have, and loses when it ends; None when another has it."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0dormouse-port-{port}")
    except OSError:
        name.close()
        return None
    return name


def _free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("", port))
        return True
    return False
