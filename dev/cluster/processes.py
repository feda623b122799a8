"""Long-running processes known by name: start, stop, signal, ask. Owns the pid files and log files, nothing else.

A pid file holds the pid and the process's start time, so that a pid used again by a stranger is never mistaken for
ours, and a zombie (some machines' pid 1 never reaps) counts as dead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_TAIL_BYTES = 3000
_STATE, _USER_TIME, _START_TIME = 0, 11, 19  # places in /proc/<pid>/stat behind the command's closing bracket


@dataclass(frozen=True)
class Processes:
    """The processes of one cluster. `prefix` is put before each command, for example `setpriv --pdeathsig KILL`."""

    pids: Path
    logs: Path
    prefix: tuple[str, ...] = ()

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Starts the command in a session of its own, logging to `<logs>/<name>.log`, unless it runs already."""
        if self.alive(name):
            return
        self.pids.mkdir(parents=True, exist_ok=True)
        self.logs.mkdir(parents=True, exist_ok=True)
        log = str(self.logs / f"{name}.log")
        # Standing in / the process holds no folder of the clone; env and prefix replace themselves by exec.
        command = ["/usr/bin/env", "-C", "/", *self.prefix, *argv]
        pid = os.posix_spawn(
            command[0],
            command,
            environment() | dict(env or {}),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
        stat = _stat(pid)
        (self.pids / name).write_text(f"{pid} {stat[_START_TIME] if stat else 0}")

    def alive(self, name: str) -> int:
        """The process's pid, or 0 when it does not run."""
        try:
            pid, started = (self.pids / name).read_text().split()
        except (OSError, ValueError):
            return 0
        stat = _stat(int(pid))
        return int(pid) if stat and stat[_START_TIME] == started and stat[_STATE] not in "ZX" else 0

    def names(self) -> list[str]:
        """Every process that was started and not stopped, dead or alive."""
        return sorted(p.name for p in self.pids.glob("*")) if self.pids.is_dir() else []

    def dead(self) -> list[str]:
        """Names of processes that should run and do not."""
        return [name for name in self.names() if not self.alive(name)]

    def signal(self, name: str, number: signal.Signals) -> int:
        """Sends a signal to a running process and returns its pid; `ProcessLookupError` when it does not run."""
        pid = self.alive(name)
        if not pid:
            raise ProcessLookupError(f"{name} does not run; running: {', '.join(self.names()) or 'nothing'}")
        os.kill(pid, number)
        return pid

    def kill(self, name: str) -> None:
        """SIGKILL, and back when the process is gone. Its name stays known, so `dead` tells of it."""
        self._wait_gone(name, self.signal(name, signal.SIGKILL), _STOP_SECONDS)

    def stop(self, name: str, patience: float = _STOP_SECONDS) -> None:
        """SIGTERM, SIGKILL when that does not help within `patience` seconds, and the name is forgotten."""
        with contextlib.suppress(ProcessLookupError):
            if not self._wait_gone(name, self.signal(name, signal.SIGTERM), patience):
                self.kill(name)
        (self.pids / name).unlink(missing_ok=True)

    def tail(self, name: str) -> str:
        """The end of a process's log."""
        with contextlib.suppress(OSError), (self.logs / f"{name}.log").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return log.read().decode(errors="replace")
        return ""

    def _wait_gone(self, name: str, pid: int, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive(name):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        with contextlib.suppress(ChildProcessError):  # ours to reap only when this very process started it
            os.waitpid(pid, os.WNOHANG)
        return True


def environment() -> dict[str, str]:
    """What a started process sees: no proxy settings, no kubeconfig of the user's, nothing else that could differ."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return {
        "PATH": f"{path}:/usr/sbin:/sbin",
        "HOME": os.environ.get("HOME", "/root"),
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
    }


def resident_mib(pid: int) -> int:
    """Resident memory of a process in MiB, 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") // (1 << 20)


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far, 0 when it is gone."""
    stat = _stat(pid)
    return (int(stat[_USER_TIME]) + int(stat[_USER_TIME + 1])) / os.sysconf("SC_CLK_TCK") if stat else 0.0


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []
