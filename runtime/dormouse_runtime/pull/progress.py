"""How far the pull is: a meter the transfers feed, and the endpoint the operator polls."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from dormouse_api.results import Progress

WINDOW_SECONDS = 10.0
STEP_SECONDS = 0.1  # two samples are at least so far apart: the window stays small at any speed


class Meter:
    """Counts bytes from several threads. What it shows never goes back, though a wrong file is fetched again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._stage, self._file = "resolving", ""
        self._total = self._have = self._shown = self._fetched = 0
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)])
        self._moved = self._excused = clock()
        self._busy, self._busy_since = 0, clock()

    def start(self, total: int, have: int) -> None:
        """The plan is known: `total` bytes, of which `have` are on the volume."""
        with self._lock:
            self._stage, self._total, self._have, self._shown = "fetching", total, have, have
            self._moved = self._clock()
            # the rate is of fetching alone: what came before took time and brought nothing
            self._samples = deque([(self._moved, self._fetched)])

    def stage(self, name: str) -> None:
        with self._lock:
            self._stage, self._file, self._moved = name, "", self._clock()

    def add(self, count: int, file: str) -> None:
        """So many bytes came over the network, for this file."""
        with self._lock:
            self._file, self._moved = file, self._clock()
            self._fetched += count
            self._have += count
            self._shown = max(self._shown, self._have)
            if self._moved - self._samples[-1][0] >= STEP_SECONDS:
                self._samples.append((self._moved, self._fetched))
                while self._moved - self._samples[0][0] > WINDOW_SECONDS:
                    self._samples.popleft()

    def drop(self, count: int) -> None:
        """So many bytes were thrown away: their file was wrong."""
        with self._lock:
            self._have -= count

    def excuse(self, seconds: float) -> None:
        """The hub asked to wait so long: this silence is no stall."""
        with self._lock:
            self._excused = max(self._excused, self._clock() + seconds)

    @contextlib.contextmanager
    def volume(self) -> Iterator[None]:
        """Meanwhile a file is read from the volume or synced to it: minutes where it is large, and no stall."""
        with self._lock:
            if not self._busy:
                self._busy_since = self._clock()
            self._busy += 1
        try:
            yield
        finally:
            with self._lock:
                self._busy -= 1
                if not self._busy:  # a silence from before goes on: each new try at a silent source begins here
                    now = self._clock()
                    self._moved = min(now, self._moved + now - self._busy_since)

    @property
    def fetched(self) -> int:
        """Bytes that came over the network."""
        return self._fetched

    @property
    def silent_seconds(self) -> float:
        """How long no byte came that should have come."""
        with self._lock:
            return 0.0 if self._busy else self._clock() - max(self._moved, self._excused)

    def progress(self) -> Progress:
        with self._lock:
            rate = self._rate()
            left = self._total - self._shown
            eta = round(left / rate, 1) if rate > 0 and self._stage == "fetching" else None
            return Progress(
                stage=self._stage,
                bytes=self._shown,
                total=self._total,
                bytes_per_second=round(rate, 1),
                eta_seconds=eta,
                file=self._file or None,
            )

    def _rate(self) -> float:
        """Bytes a second over the window that ends now: it falls while nothing comes."""
        now = self._clock()
        since, base = next(((t, n) for t, n in self._samples if now - t <= WINDOW_SECONDS), (now, self._fetched))
        return (self._fetched - base) / (now - since) if now > since else 0.0


class ProgressServer:
    """`GET /progress` and `GET /livez` on every address, in a thread that ends with the process."""

    def __init__(self, meter: Meter, port: int) -> None:
        handler = type("ProgressHandler", (_Handler,), {"meter": meter})
        self._server = ThreadingHTTPServer(("", port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True, name="progress").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    meter: Meter
    timeout = 10

    def do_GET(self) -> None:
        pages = {"/progress": self.meter.progress().model_dump_json(exclude_none=True), "/livez": '{"ok":true}'}
        body = pages.get(self.path.partition("?")[0], "").encode()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Polls are no news."""
