"""An open-loop client: requests are due at a constant rate, whatever the answers do; one JSON line at the end.

python -m bench.routing.openloop PORT RATE SECONDS CONNECTIONS

A latency counts from the moment its request was due, so a proxy that stalls is charged for every request that could not
be sent meanwhile (no coordinated omission). `select` and not an event loop: its time-out is exact to some 50 us,
where libuv's timers know milliseconds. How late the client itself was is told too: where that is near the
latencies, the figures are the client's and mean nothing.
"""

import gc
import json
import select
import socket
import sys
import time
from collections import deque

import httptools

from bench.routing.bodies import KEY, SMALL_CHAT

REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    b"authorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (KEY.encode(), len(SMALL_CHAT), SMALL_CHAT)
)
DRAIN_SECONDS = 20.0


class Connection:
    """One kept connection with at most one request on it."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._complete = False

    def on_message_complete(self) -> None:
        self._complete = True

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, due: float) -> None:
        self.due = due
        self.socket.sendall(REQUEST)

    def read(self) -> bool:
        """Whether the answer is whole now."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the proxy closed a connection in the middle of an answer")
        self._parser.feed_data(data)
        if not self._complete:
            return False
        if self._parser.get_status_code() != 200:
            raise ConnectionError(f"status {self._parser.get_status_code()}")
        self._parser, self._complete = httptools.HttpResponseParser(self), False
        return True


class Run:
    """One run at a constant rate."""

    def __init__(self, connections: list[Connection], rate: float, seconds: float) -> None:
        self._idle = connections
        self._busy: set[Connection] = set()
        self._waiting: deque[float] = deque()
        """Requests that are due while every connection is busy."""
        self._rate, self._total = rate, int(rate * seconds)
        self.latencies: list[float] = []
        self.late: list[float] = []
        """By how much the client itself noticed each request too late."""

    def run(self) -> None:
        clock = time.perf_counter
        start, asked = clock(), 0
        give_up = start + self._total / self._rate + DRAIN_SECONDS
        while len(self.latencies) < self._total:
            now = clock()
            if now > give_up:
                raise TimeoutError(f"{self._total - len(self.latencies)} answers did not come")
            while asked < self._total and (due := start + asked / self._rate) <= now:
                self._waiting.append(due)
                self.late.append(now - due)
                asked += 1
            while self._waiting and self._idle:
                connection = self._idle.pop()
                connection.send(self._waiting.popleft())
                self._busy.add(connection)
            until = start + asked / self._rate if asked < self._total else give_up
            readable, _, _ = select.select(self._busy, (), (), max(0.0, until - clock()))
            for connection in readable:
                if connection.read():
                    self.latencies.append(clock() - connection.due)
                    self._busy.discard(connection)
                    self._idle.append(connection)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int((len(values) - 1) * share)]


def main(port: int, rate: float, seconds: float, connections: int) -> None:
    run = Run([Connection(port) for _ in range(connections)], rate, seconds)
    gc.disable()
    run.run()
    said = {
        "requests": len(run.latencies),
        "p50_ms": percentile(run.latencies, 0.5) * 1000,
        "p99_ms": percentile(run.latencies, 0.99) * 1000,
        "max_ms": max(run.latencies) * 1000,
        "late_p99_ms": percentile(run.late, 0.99) * 1000,
    }
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
