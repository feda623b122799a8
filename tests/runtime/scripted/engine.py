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
from pathlib import Path

OUT_OF_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.00 GiB"
NO_DRIVER = "RuntimeError: Found no NVIDIA driver on your system."
UNSUPPORTED = "ValueError: Model architectures ['Strange'] are not supported for now"


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Handler(BaseHTTPRequestHandler):
    """/health and /load as every engine; /hold answers after /release; /die, /kill, /overflow, /overlimit, /wedge and
    /heal play accidents; adapters are loaded and unloaded as vLLM does, and /adapters tells which there are and by how
    many requests."""

    loras: dict[str, str] = {}  # noqa: RUF012 - one for the process
    asked = 0
    healthy = threading.Event()
    released = threading.Event()
    in_flight = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        name = self.path.lstrip("/").partition("/")
        if name[0] == "die":
            os._exit(int(name[2]))
        if name[0] == "overflow":
            say(OUT_OF_MEMORY)
            os._exit(1)
        if name[0] == "kill":
            killed(0)
        if name[0] == "overlimit":
            counted_at_the_limit()
            os._exit(1)
        if name[0] == "wedge":
            Handler.healthy.clear()
        if name[0] == "heal":
            Handler.healthy.set()
        if name[0] in ("health", "load"):
            Handler.healthy.wait()
        if name[0] == "release":
            Handler.released.set()
        if name[0] == "hold":
            self._held()
            return
        if name[0] == "adapters":
            self._answer(json.dumps({"loras": Handler.loras, "asked": Handler.asked}).encode())
            return
        self._answer(json.dumps({"server_load": Handler.in_flight, "pid": os.getpid()}).encode())

    def _held(self) -> None:
        with Handler.lock:
            Handler.in_flight += 1
        Handler.released.wait()
        self._answer(b"{}")
        # last: who sees that none is left may end the engine before another line of it runs
        with Handler.lock:
            Handler.in_flight -= 1

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name, path = body["lora_name"], body.get("lora_path")
        Handler.asked += 1
        if path is None:
            Handler.loras.pop(name)
        elif "bad" in path:
            self._answer(json.dumps({"error": {"message": f"{name} has no such layer"}}).encode(), 500)
            return
        else:
            Handler.loras[name] = path
        self._answer(b"Success")

    def _answer(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
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


def loud(port: int) -> None:
    """Says more than anybody keeps, in lines of every length."""
    for number in range(20_000):
        say(f"{number} {'word ' * (number % 400)}")
    serve(port)


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


ENOUGH = 2**28
"""The KV cache that a hungry engine finds room for, in bytes."""


def hungry(port: int) -> None:
    """Runs out of memory while it is given a larger KV cache."""
    if json.loads(os.environ["DORMOUSE_RUNTIME"])["kv_cache_bytes"] > ENOUGH:
        fail(OUT_OF_MEMORY)(port)
    serve(port)


def counted_at_the_limit() -> None:
    """Writes into its cgroup what the kernel writes there when it ends a process at the container's limit."""
    events = Path(os.environ["DORMOUSE_TEST_CGROUP"], "memory.events")
    events.write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\noom_group_kill 0\n")


def over_the_limit(port: int) -> None:
    counted_at_the_limit()
    killed(port)


def hang(port: int) -> None:
    say("[dormouse] stage loading")
    while True:
        say("Loading shard 1 of 99")
        time.sleep(0.2)


def hang_warm(port: int) -> None:
    for stage in ("loading", "warming"):
        say(f"[dormouse] stage {stage}")
    threading.Event().wait()


PARTS: dict[str, Callable[[int], None]] = {
    "serve": serve,
    "loud": loud,
    "stubborn": stubborn,
    "orphans": orphans,
    "out-of-memory": fail(OUT_OF_MEMORY),
    "unsupported": fail(UNSUPPORTED),
    "killed": killed,
    "hungry": hungry,
    "over-the-limit": over_the_limit,
    "no-driver": fail(NO_DRIVER),
    "hang": hang,
    "hang-warm": hang_warm,
}

if __name__ == "__main__":
    PARTS[sys.argv[1]](int(sys.argv[2]))
