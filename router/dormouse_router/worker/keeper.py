"""Keeps a worker at work: a child that is begun again, later each time, however often it ends. Imports next to nothing.

Where a router keeps things on a volume, its worker is a container of the router's own pod, and a container that ends
again and again makes the whole pod unready: the router would lose its calls for a worker's fault. So the process that
the container is never ends by itself. It owns the socket of the ops port and lends it to the child; it answers itself
while there is no child that does. A child tells by a beat a second that its loop turns; one that falls silent is
killed. Knows nothing of batches.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
import traceback
from collections.abc import Callable
from typing import NamedTuple

from dormouse_api.metrics import BATCH_WORKER_RESTARTS

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds between a child's end and the next one's beginning."""
STEADY_SECONDS = 120.0
"""After so long a life its end is the first failure again."""
START_SECONDS = 180.0
"""From a child's beginning to its first beat, at most: a busy node takes its time to import everything."""
SILENT_SECONDS = 30.0
"""Between two beats, at most."""
ANSWER_SECONDS = 5.0
"""Without a beat for so long, what comes to the port is answered here as well."""
BIND_PAUSE = 5.0
BACKLOG = 128
MOST_HEAD = 4096
HEAD_SECONDS = 0.5


class Nest(NamedTuple):
    """What a child is given."""

    ops: socket.socket | None
    """Listens on the ops port; None where that could not be had."""
    beat: int
    """File descriptor: a byte a second, the first when the ops port is served. Broken: the keeper is gone."""
    restarts: int


class _Child(NamedTuple):
    pid: int
    begun: float
    beat: int


def pause(failures: int) -> float:
    """Seconds before the next child, after so many ends in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Keeper:
    """`work` is a child's whole life, in a process of its own; it returns the exit status. `say`: one line of log."""

    def __init__(self, work: Callable[[Nest], int], address: tuple[str, int], say: Callable[..., None]) -> None:
        self._work, self._address, self._say, self._clock = work, address, say, time.monotonic
        self._selector = selectors.DefaultSelector()
        self._ops: socket.socket | None = None
        self._bind_at = 0.0
        self._child: _Child | None = None
        self._beat_at: float | None = None
        """The last beat of this child; None: there was none yet."""
        self._stopping = False
        self._status = 0
        self._begin_at = 0.0
        self._failures = self._restarts = 0
        self._why = "it begins"

    def run(self) -> int:
        """Until SIGTERM or SIGINT, which the child has time to obey; its exit status."""
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # wakes the selector
        self._selector.register(woken, selectors.EVENT_READ, woken)
        while not (self._stopping and self._child is None):
            self._step()
            for key, _ in self._selector.select(self._nap()):
                self._heard(key)
            self._reap()
        return self._status

    def _stop(self, *_: object) -> None:
        """At once, whatever goes on: a handler of signals."""
        self._stopping = True
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGTERM)

    def _nap(self) -> float:
        return 1.0 if self._child is not None else min(1.0, max(0.0, self._begin_at - self._clock()))

    # ------------------------------------------------------------------ the child

    def _step(self) -> None:
        now = self._clock()
        self._bind(now)
        if self._child is None:
            if not self._stopping and now >= self._begin_at:
                self._begin(now)
            return
        last = self._beat_at
        silent = now - (self._child.begun if last is None else last)
        if silent > (START_SECONDS if last is None else SILENT_SECONDS):
            self._say("the worker has fallen silent and is killed", level="error", pid=self._child.pid, seconds=silent)
            os.kill(self._child.pid, signal.SIGKILL)
            self._beat_at = now
        self._answer_here(last is None or silent > ANSWER_SECONDS)

    def _begin(self, now: float) -> None:
        ours, theirs = os.pipe()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or no process: for now
            os.close(ours)
            os.close(theirs)
            self._failed(f"it could not be begun: {error}", now)
            return
        if pid == 0:
            os.close(ours)
            self._live(Nest(self._ops, theirs, self._restarts))
        os.close(theirs)
        os.set_blocking(ours, False)
        self._child, self._beat_at = _Child(pid, now, ours), None
        self._selector.register(ours, selectors.EVENT_READ)
        self._why = "it begins"
        if self._stopping:  # the signal came when there was nobody to pass it to
            self._stop()

    def _live(self, nest: Nest) -> None:
        """The child; never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            os.set_blocking(nest.beat, False)
            status = self._work(nest)
        except BaseException:  # noqa: BLE001 - whatever it is, the process ends with it
            traceback.print_exc()
        finally:
            os._exit(status)

    def _reap(self) -> None:
        """See whether the child has ended; as pid 1 of a container this also buries orphans."""
        with contextlib.suppress(ChildProcessError):
            while (reaped := os.waitpid(-1, os.WNOHANG))[0]:
                if self._child is not None and reaped[0] == self._child.pid:
                    self._ended(self._child, os.waitstatus_to_exitcode(reaped[1]))

    def _ended(self, child: _Child, status: int) -> None:
        self._selector.unregister(child.beat)
        os.close(child.beat)
        self._child, now = None, self._clock()
        if now - child.begun > STEADY_SECONDS:
            self._failures = 0
        if self._stopping:
            self._status = max(0, status)  # a signal before it could hear any has cost nothing
        else:
            self._failed(f"it ended with status {status}" if status >= 0 else f"signal {-status} ended it", now)

    def _failed(self, why: str, now: float) -> None:
        self._failures += 1
        self._restarts += 1
        self._begin_at = now + pause(self._failures)
        self._why = f"{why}; begun again {self._restarts} times, the last {self._failures} in a row"
        seconds = round(self._begin_at - now, 1)
        self._say("the worker is begun again", level="error", why=why, in_a_row=self._failures, seconds=seconds)
        self._answer_here(True)

    # ------------------------------------------------------------------ the ops port

    def _bind(self, now: float) -> None:
        """Have the port, or try again later; a child that has none is at work all the same."""
        if self._ops is not None or now < self._bind_at:
            return
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        try:
            self._ops = socket.create_server(self._address, family=family, backlog=BACKLOG)
        except (OSError, OverflowError) as error:
            self._say("the ops port cannot be had", level="error", port=self._address[1], error=str(error))
            self._bind_at = now + BIND_PAUSE
            return
        self._ops.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ops.setblocking(False)
        self._answer_here(True)

    def _answer_here(self, wanted: bool) -> None:
        if self._ops is None:
            return
        registered = self._ops.fileno() in self._selector.get_map()
        if wanted and not registered:
            self._selector.register(self._ops, selectors.EVENT_READ)
        elif registered and not wanted:
            self._selector.unregister(self._ops)

    def _heard(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._ops:
            with contextlib.suppress(OSError):
                connection, _ = self._ops.accept()
                with connection:
                    self._answer(connection)
        elif key.data is not None:  # a signal came
            with contextlib.suppress(BlockingIOError):
                key.data.recv(4096)
        elif self._child is not None:
            with contextlib.suppress(BlockingIOError):
                if os.read(self._child.beat, 4096):  # nothing: it ends, and is about to be reaped
                    self._beat_at = self._clock()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(HEAD_SECONDS)
        head = connection.recv(MOST_HEAD)
        status, text = self._told(head.split(b" ", 2)[1] if head.count(b" ") > 1 else b"")
        lines = f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\nconnection: close"
        connection.sendall(f"{lines}\r\n\r\n{text}".encode())

    def _told(self, path: bytes) -> tuple[str, str]:
        if path == b"/livez":
            return "200 OK", "ok\n"
        if path == b"/readyz":
            return "503 Service Unavailable", f"the worker does not work: {self._why}\n"
        if path == b"/metrics":
            return "200 OK", f"# TYPE {BATCH_WORKER_RESTARTS} counter\n{BATCH_WORKER_RESTARTS} {self._restarts}\n"
        return "404 Not Found", "there is /metrics, /livez and /readyz\n"
