"""Who has this machine's one node. Two would share the pods' cgroup and the kubelet's fixed folders."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dev.cluster.layout import RUN_ROOT, ClusterError, Layout
from dev.cluster.processes import Processes

_FILE = "owner.json"


@contextlib.contextmanager
def taken(layout: Layout, clear: Callable[[Layout], None]) -> Iterator[None]:
    """Makes `layout` the owner until `release` and runs the block, one at a time on this machine.

    Raises `ClusterError` when another clone's cluster runs; what a dead one left behind is removed with `clear`.
    """
    with locked():
        other = current()
        if other is not None and other != layout:
            _refuse_while_running(other)
            clear(other)
        (RUN_ROOT / _FILE).write_text(json.dumps({"state": str(layout.state), "run": str(layout.run)}))
        yield


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Lets one `up` or `down` happen at a time on this machine. The folder goes with the last user."""
    path = RUN_ROOT / "lock"
    while True:
        RUN_ROOT.mkdir(parents=True, exist_ok=True)
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever held it before us may have removed the file with the rest; a lock nobody else sees is none.
            if path.exists() and os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                try:
                    yield
                finally:
                    _leave(path)
                return


def _leave(lock: Path) -> None:
    if not (RUN_ROOT / _FILE).exists():
        lock.unlink()
        with contextlib.suppress(OSError):  # another cluster's leftovers are in it
            RUN_ROOT.rmdir()


def current() -> Layout | None:
    """The layout of the cluster that has the machine, running or dead."""
    try:
        content = json.loads((RUN_ROOT / _FILE).read_text())
    except (OSError, ValueError):
        return None
    return Layout(state=Path(content["state"]), run=Path(content["run"]))


def release(layout: Layout) -> None:
    """Gives the machine back."""
    if current() == layout:
        (RUN_ROOT / _FILE).unlink(missing_ok=True)


def _refuse_while_running(other: Layout) -> None:
    processes = Processes(other.pids, other.logs)
    if any(processes.alive(name) for name in processes.names()):
        raise ClusterError(
            f"the cluster of {other.state} runs on this machine, and there can be one node per machine: "
            f"stop it with `python -m dev.cluster --state {other.state} down` (its state is kept)"
        )
