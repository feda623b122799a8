"""Whether the kernel ended a process for memory, and whose: the container's limit, or the node's. Reads the cgroup.

A SIGKILL tells nothing by itself. Both versions of cgroups are read; the one that mounts this container's own group.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Counts:
    """What the cgroup has counted so far."""

    kills: int
    """Processes of this container that any out-of-memory killer ended."""
    at_limit: int
    """How often the container's own limit was reached."""
    limit: int | None
    """Bytes; None: there is no limit."""


@dataclass(frozen=True)
class Killed:
    """What the kernel's killer had to do with an ending."""

    by_kernel: bool
    at_limit: bool = False
    limit: int | None = None


def counts(cgroup: Path = CGROUP) -> Counts | None:
    """None where there is no cgroup of either kind to read."""
    with contextlib.suppress(OSError, ValueError):
        events = _pairs(cgroup / "memory.events")
        return Counts(events["oom_kill"], events["oom"], _limit(cgroup / "memory.max"))
    with contextlib.suppress(OSError, ValueError, KeyError):
        old = cgroup / "memory"
        kills = _pairs(old / "memory.oom_control")["oom_kill"]
        return Counts(kills, int((old / "memory.failcnt").read_text()), _limit(old / "memory.limit_in_bytes"))
    return None


def between(before: Counts | None, now: Counts | None) -> Killed | None:
    """What happened in between; None where nobody knows."""
    if before is None or now is None:
        return None
    return Killed(now.kills > before.kills, now.at_limit > before.at_limit, now.limit)


def _pairs(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in path.read_text().splitlines())}


def _limit(path: Path) -> int | None:
    text = path.read_text().strip()
    # without a limit the older cgroups say the largest page-aligned number
    return None if text == "max" or int(text) >= 2**62 else int(text)
