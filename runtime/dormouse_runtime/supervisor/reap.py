"""Every child's end, collected in one place. As pid 1 the supervisor inherits the orphans of its engines too.

asyncio's own subprocesses are not used: their watcher waits for one pid each, and would race with the waitpid(-1)
that orphans need.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal

PR_SET_CHILD_SUBREAPER = 36


class Reaper:
    """Collects ended children; those that somebody watches have their exit code told."""

    def __init__(self) -> None:
        self._watched: dict[int, asyncio.Future[int]] = {}

    def install(self) -> None:
        """Collect from now on. Outside a container (not pid 1) orphans are asked for explicitly."""
        if os.getpid() != 1:
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.collect)

    def watch(self, pid: int) -> asyncio.Future[int]:
        """The exit code of `pid`, negative for a signal. Call it in the same step that starts the process."""
        return self._watched.setdefault(pid, asyncio.get_running_loop().create_future())

    def collect(self) -> None:
        """Collect every child that has ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            ended = self._watched.pop(pid, None)
            if ended is not None and not ended.done():
                ended.set_result(os.waitstatus_to_exitcode(status))
