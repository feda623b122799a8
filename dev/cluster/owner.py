"""Who has this machine's one node. Two would share the pods' cgroup and the kubelet's fixed folders."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from dev.cluster.layout import RUN_ROOT, ClusterError, Layout
from dev.cluster.processes import Processes

_FILE = "owner.json"


@contextlib.contextmanager
def taken(layout: Layout, clear: Callable[[Layout], None]) -> Iterator[None]:
    """Makes `layout` the owner for good and runs the block, one `up` at a time.

    Raises `ClusterError` when another clone's cluster runs; what a dead one left behind is removed with `clear`.
    """
    RUN_ROOT.mkdir(parents=True, exist_ok=True)
    with (RUN_ROOT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = current()
        if other is not None and other != layout:
            _refuse_while_running(other)
            clear(other)
            RUN_ROOT.mkdir(parents=True, exist_ok=True)
        (RUN_ROOT / _FILE).write_text(json.dumps({"state": str(layout.state), "run": str(layout.run)}))
        yield


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
        (RUN_ROOT / "lock").unlink(missing_ok=True)


def _refuse_while_running(other: Layout) -> None:
    processes = Processes(other.pids, other.logs)
    if any(processes.alive(name) for name in processes.names()):
        raise ClusterError(
            f"the cluster of {other.state} runs on this machine, and there can be one node per machine: "
            f"stop it with `python -m dev.cluster --state {other.state} down` (its state is kept)"
        )
