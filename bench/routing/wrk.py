"""Whole answers under load, by wrk on one core: a closed loop, so the rate is what the proxy can do."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from string import Template

from bench.routing.bodies import KEY
from bench.routing.processes import BenchError

SCRIPT = Template("""
local file = io.open("$body", "rb")
wrk.method = "POST"
wrk.body = file:read("*all")
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer $key"
wrk.path = "/v1/chat/completions"
function done(summary, latency, requests)
    local bad = summary.errors.connect + summary.errors.read + summary.errors.write
        + summary.errors.status + summary.errors.timeout
    io.write(string.format('\\nRESULT {"requests": %d, "bad": %d, "us": %d, "p50_us": %d, "p99_us": %d}\\n',
        summary.requests, bad, summary.duration, latency:percentile(50), latency:percentile(99)))
end
""")


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def load(folder: Path, port: int, body: bytes, connections: int, seconds: int, core: int) -> Load:
    """POST `body` over `connections` for `seconds`. BenchError where a single answer was not a 200."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchError("wrk is not installed: apt-get install wrk")
    file, script = folder / "body", folder / "post.lua"
    file.write_bytes(body)
    script.write_text(SCRIPT.substitute(body=file, key=KEY))
    argv = [
        found,
        "--timeout",
        "20s",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{port}/",
    ]
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + 30,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    if done.returncode:
        raise BenchError(f"wrk ended with {done.returncode}: {done.stderr[-500:]}")
    said = json.loads(done.stdout.split("RESULT ", 1)[1].splitlines()[0])
    if said["bad"] or not said["requests"]:
        raise BenchError(f"{said['bad']} of {said['requests']} answers were bad: {done.stdout}")
    return Load(said["requests"], said["us"] / 1e6, said["p50_us"] / 1000, said["p99_us"] / 1000)
