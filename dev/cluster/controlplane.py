"""A control plane without a node, for tests: real API server, etcd, controllers and scheduler on free loopback ports.

Ready in seconds, beside any other cluster, with its own folder that is gone afterwards. Nothing runs pods; with
`kwok=True` nodes annotated `kwok.x-k8s.io/node: fake` and their pods pretend to. Needs no root.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dev import ports
from dev.cluster import binaries, configs, pki
from dev.cluster.components import Components
from dev.cluster.layout import ClusterError, Layout, Ports
from dev.cluster.plane import Plane
from dev.cluster.processes import Processes, processor_seconds

_DIE_WITH_US = ("setpriv", "--pdeathsig", "KILL")
_PREFIX, _MARK = "dormouse-plane-", "in-use"
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


class ControlPlane:
    """A context manager around one control plane.

    The processes die with the thread that entered it, even by SIGKILL, so enter it from the main thread.
    """

    def __init__(
        self, *, kwok: bool = False, audit: bool = False, stages: Callable[[str], str] = lambda given: given
    ) -> None:
        """`stages` may change what kwok's nodes and pods do: from kwok's own configuration to another."""
        self._kwok = kwok
        self._audit = audit
        self._stages = stages

    def __enter__(self) -> ControlPlane:
        _remove_abandoned()
        self.folder = folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._in_use = _mark_in_use(folder)
        self._layout = layout = Layout(state=folder, run=folder)
        self._processes = Processes(layout.pids, layout.logs, prefix=_DIE_WITH_US)
        try:
            self._start(layout, binaries.ensure())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self, layout: Layout, built: binaries.Binaries) -> None:
        audit = layout.logs / "audit.log" if self._audit else None
        components = Components(layout, built, _free_ports(), node=False, audit=audit)
        layout.logs.mkdir(parents=True)
        pki.make(layout.pki)
        configs.write_kubeconfigs(layout, components.api_url)
        configs.write_files(layout.conf, {"audit.yaml": configs.audit_policy()})
        binaries.link(built, layout.bin)
        self._plane = plane = Plane(components, self._processes)
        self.url = components.api_url
        plane.start_store()
        plane.start_api()
        plane.await_api()
        plane.start_controllers()
        if self._kwok:
            given = subprocess.run([built.tools, "kwok-stages"], check=True, capture_output=True, text=True).stdout
            configs.write_files(layout.conf, {"kwok-stages.yaml": self._stages(given)})
            self._processes.start("kwok", components.kwok())
        plane.await_controllers()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("kwok", "scheduler", "controller-manager", "apiserver", "etcd"):
            if self._processes.alive(name):
                self._processes.kill(name)  # nothing here outlives the folder, so nobody needs time to tidy up
        shutil.rmtree(self.folder)
        self._in_use.close()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self._layout.kubeconfigs / "admin"

    @property
    def bin(self) -> Path:
        """A folder with kubectl and helm."""
        return self._layout.bin

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs kubectl as the administrator. Output and errors are text; a failure raises unless told not to."""
        command = [str(self.bin / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, text=True, capture_output=True, check=False)
        if check and done.returncode:
            raise ClusterError(f"kubectl {' '.join(arguments)} failed: {done.stderr.strip()}")
        return done

    def restart_apiserver(self) -> None:
        """Ends the API server in an orderly way and starts it again; back when it is ready. The data stay."""
        self._plane.restart_api()

    def kill_apiserver(self) -> None:
        """SIGKILL: every connection breaks at once. `restart_apiserver` brings it back."""
        self._processes.kill("apiserver")

    def pause_apiserver(self) -> None:
        """SIGSTOP: connections stay open and nobody answers, as when a machine hangs."""
        self._processes.signal("apiserver", signal.SIGSTOP)

    def resume_apiserver(self) -> None:
        """Ends the pause."""
        self._processes.signal("apiserver", signal.SIGCONT)

    def processor_seconds(self) -> dict[str, float]:
        """User and system time of each process so far, by its name."""
        return {name: processor_seconds(self._processes.alive(name)) for name in self._processes.names()}

    def audit_events(self, mark: int = 0) -> list[dict[str, Any]]:
        """Every request the API server has finished, oldest first (needs `audit=True`): verb, user, objectRef, code.

        With a `mark` of `audit_mark` only those since: the log of a large run is hundreds of megabytes.
        """
        if not self._audit:
            raise ClusterError("this control plane keeps no audit log: make it with ControlPlane(audit=True)")
        log = self._layout.logs / "audit.log"
        if not log.exists():
            return []
        with log.open("rb") as file:
            file.seek(mark)
            lines = file.read().split(b"\n")[:-1]  # a line without an end is still being written
        return [json.loads(line) for line in lines]

    def audit_mark(self) -> int:
        """Where the audit log ends now."""
        log = self._layout.logs / "audit.log"
        return log.stat().st_size if log.exists() else 0

    def writes(self, resource: str | None = None, *, agent: str = "") -> list[dict[str, Any]]:
        """The audit events that wanted to change something: of one resource, of clients whose agent contains a text."""
        return [
            event
            for event in self.audit_events()
            if event["verb"] in _WRITES
            and event["stage"] == "ResponseComplete"
            and (resource is None or event.get("objectRef", {}).get("resource") == resource)
            and agent in event.get("userAgent", "")
        ]


def _mark_in_use(folder: Path) -> IO[str]:
    """Locks a file in the folder for as long as this process lives or the file is open."""
    mark = (folder / "new").open("w")
    fcntl.flock(mark, fcntl.LOCK_EX)
    (folder / "new").rename(folder / _MARK)  # never seen by others without the lock on it
    return mark


def _remove_abandoned() -> None:
    """Removes folders whose test run was killed: 64 MiB of write-ahead log in each."""
    for mark in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_MARK}"):
        with contextlib.suppress(OSError), mark.open() as file:  # locked: in use. Vanished: just ended.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(mark.parent)


def _free_ports() -> Ports:
    names = [field.name for field in fields(Ports)]
    return Ports(**dict(zip(names, ports.reserve(len(names)), strict=True)))
