"""Processes of the bench: started on a core of their own, watched through /proc, paused and ended by their id."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dev import ports

TICK = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """The bench cannot run, or a measurement did not end well; the message says what to do."""


class Process:
    """A process pinned to one core, or to none. What it says goes to `output`, or where the bench's own words go."""

    def __init__(self, argv: list[str], core: int | None, *, output: IO[bytes] | None = None) -> None:
        # a function between fork and exec is safe here: the bench has one thread
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        self.popen = subprocess.Popen(argv, preexec_fn=pin, stdout=output, stderr=output)

    @property
    def cpu_seconds(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def pss(self) -> int:
        """Proportional set size in bytes."""
        lines = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))

    @property
    def private(self) -> int:
        """Resident bytes that nothing else shares: what a leak grows."""
        lines = Path(f"/proc/{self.popen.pid}/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))

    @property
    def peak(self) -> int:
        """Most resident bytes so far, shared ones too."""
        lines = Path(f"/proc/{self.popen.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))

    @property
    def fds(self) -> int:
        """Open file descriptors."""
        return sum(1 for _ in Path(f"/proc/{self.popen.pid}/fd").iterdir())

    def pause(self) -> None:
        """Take no processor time until `resume`: another one is measured on the same core."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def stop(self, seconds: float) -> int | None:
        """SIGTERM, and its exit status; None where it did not end in time."""
        self.popen.terminate()
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()


@contextlib.contextmanager
def running(
    argv: list[str], core: int | None, port: int, *, seconds: float = 20, output: IO[bytes] | None = None
) -> Iterator[Process]:
    """The process, once it listens on `port`, which may take it `seconds`."""
    process = Process(argv, core, output=output)
    try:
        await_port(process, port, seconds)
        yield process
    finally:
        process.end()


def family_cpu_seconds(root: int) -> float:
    """User and system time so far of a process and of all that it has begun and that still runs."""
    parents, seconds = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended meanwhile
            fields = path.read_text().rsplit(")", 1)[1].split()
            parents[int(path.parent.name)] = int(fields[1])
            seconds[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / TICK
    family, found = {root}, {root}
    while found:
        found = {pid for pid, parent in parents.items() if parent in found}
        family |= found
    return sum(seconds.get(pid, 0.0) for pid in family)


def python(module: str, *arguments: object, interpreter: str = sys.executable) -> list[str]:
    """The command that runs a module of ours, with our packages whatever the interpreter."""
    ours = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    paths = os.pathsep.join([str(Path.cwd()), *ours])
    return ["env", f"PYTHONPATH={paths}", interpreter, "-m", module, *map(str, arguments)]


def free_port() -> int:
    """For a process that is still to begin, and may be begun again."""
    (port,) = ports.reserve()
    return port


def await_port(process: Process, port: int, seconds: float = 20) -> None:
    """Until `process` listens on `port`. BenchError where it ends, or time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.popen.poll() is not None:
            raise BenchError(f"{process.popen.args!r} ended with {process.popen.returncode}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"nothing listens on port {port}: {process.popen.args!r}")
