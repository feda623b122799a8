"""An engine that plays one part: `python -m tests.runtime.scripted.engine PART PORT`. See PARTS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.00 GiB"
UNSUPPORTED = "ValueError: Model architectures ['Strange'] are not supported for now"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    """/health and /load as every engine; /slow answers late; /die, /wedge and /heal play accidents."""

    healthy = threading.Event()
    in_flight = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        name = self.path.lstrip("/").partition("/")
        if name[0] == "die":
            os._exit(int(name[2]))
        if name[0] == "wedge":
            Handler.healthy.clear()
        if name[0] == "heal":
            Handler.healthy.set()
        if name[0] == "health":
            Handler.healthy.wait()
        if name[0] == "slow":
            with Handler.lock:
                Handler.in_flight += 1
            time.sleep(float(name[2]))
            with Handler.lock:
                Handler.in_flight -= 1
        self._answer(json.dumps({"server_load": Handler.in_flight, "pid": os.getpid()}).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """The engine's log is what the part says, nothing else."""


def serve(port: int) -> None:
    for stage in ("importing", "loading", "warming"):
        say(f"[dormouse] stage {stage}")
    say("loaded with hf_abcdefghijklmnop in hand")
    Handler.healthy.set()
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def stubborn(port: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve(port)


def orphans(port: int) -> None:
    """Leaves a grandchild behind that ends at once and nobody but pid 1 can collect, and one that stays."""
    script = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', '']); subprocess.Popen(['sleep', '300'])"
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)
    serve(port)


def fail(line: str) -> Callable[[int], None]:
    def part(port: int) -> None:
        say(line)
        sys.exit(1)

    return part


def killed(port: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def hang(port: int) -> None:
    say("[dormouse] stage loading")
    say("Loading shard 1 of 99")
    threading.Event().wait()


PARTS: dict[str, Callable[[int], None]] = {
    "serve": serve,
    "stubborn": stubborn,
    "orphans": orphans,
    "out-of-memory": fail(OUT_OF_MEMORY),
    "unsupported": fail(UNSUPPORTED),
    "killed": killed,
    "hang": hang,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](int(sys.argv[2]))
