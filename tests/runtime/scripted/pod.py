"""A runtime pod on this machine: starts the scripted supervisor, asks its ports, reads its last word."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http import client
from pathlib import Path
from typing import Any

from dev import ports
from dormouse_api.model import Engine
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.runtime import Attempt, RuntimeConfig, RuntimeState

DEADLINE = 60.0


def free_port() -> int:
    """A port that nobody has, and nobody else who asks here is given."""
    (port,) = ports.reserve()
    return port


def until(true: Callable[[], Any], seconds: float = DEADLINE) -> Any:
    """The first true value of `true()`. AssertionError when there is none in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := true():
            return value
        time.sleep(0.01)
    raise AssertionError(f"not true within {seconds} s: {true}")


def ask(port: int, path: str, timeout: float = DEADLINE) -> tuple[int, str]:
    """Status and body of a GET on this machine; (0, the error) where nothing answers."""
    connection = client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, client.HTTPException) as error:
        return 0, repr(error)
    finally:
        connection.close()


class Pod:
    """A running supervisor: `command` serves `config`, with `env` laid over this process's own."""

    def __init__(
        self, folder: Path, config: RuntimeConfig, command: list[str], env: Mapping[str, str] | None = None
    ) -> None:
        self.config, self.serving, self.admin = config, config.serving_port, config.admin_port
        self.last_word_path = folder / "termination"
        told = {
            ENV_RUNTIME_CONFIG: config.model_dump_json(),
            "DORMOUSE_HOST": "127.0.0.1",
            "DORMOUSE_TERMINATION_LOG": str(self.last_word_path),
            "TMPDIR": str(folder),
        }
        self.output = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            command, env={**os.environ, **told, **(env or {})}, stdout=self.output, stderr=subprocess.STDOUT
        )
        until(lambda: self.get("/livez")[0] == 200 or self.process.poll() is not None)

    def get(self, path: str, port: int | None = None, timeout: float = DEADLINE) -> tuple[int, str]:
        """Status and body; (0, the error) where nothing answers."""
        return ask(port or self.admin, path, timeout)

    def ask(self, path: str) -> Any:
        """The engine's JSON answer."""
        return json.loads(self.get(path, self.serving)[1])

    def post(self, path: str, body: Any) -> Any:
        """The engine's JSON answer to a JSON request, refusals included."""
        return json.loads(self.post_text(path, body))

    def post_text(self, path: str, body: Any) -> str:
        """The engine's whole answer to a JSON request."""
        connection = client.HTTPConnection("127.0.0.1", self.serving, timeout=180)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def state(self) -> RuntimeState:
        return RuntimeState.model_validate_json(self.get("/state")[1])

    def ready(self) -> bool:
        return self.get("/readyz")[0] == 200

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self, seconds: float = DEADLINE) -> int:
        """Its exit code."""
        return self.process.wait(seconds)

    def last_word(self) -> RuntimeState:
        return RuntimeState.model_validate_json(self.last_word_path.read_text())

    def log(self) -> str:
        return Path(self.output.name).read_text()

    def children(self) -> list[tuple[int, str]]:
        """(pid, state) of every process below the supervisor."""
        parents: dict[int, tuple[int, str]] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(stat.parent.name)] = (int(fields[1]), fields[0])
        found, frontier = [], {self.process.pid}
        while frontier:
            below = {pid for pid, (parent, _) in parents.items() if parent in frontier}
            found += [(pid, parents[pid][1]) for pid in below]
            frontier = below
        return found

    def close(self) -> None:
        if self.process.poll() is None:
            family = [pid for pid, _ in self.children()]
            self.process.kill()
            self.process.wait(DEADLINE)
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
        self.output.close()


def scripted(folder: Path, *parts: str, timing: Mapping[str, float] | None = None, **fields: Any) -> Pod:
    """A pod of scripted engines; `parts` are its attempts, in order, `timing` what it takes other seconds for."""
    attempts = []
    for number, part in enumerate(parts):
        weights = folder / str(number) / part
        weights.mkdir(parents=True, exist_ok=True)
        if part != "missing":
            (weights / "config.json").write_text("{}")
        attempts.append(Attempt(engine=(Engine.VLLM, Engine.TRANSFORMERS)[number % 2], model_dir=str(weights)))
    config = make_config(
        attempts=tuple(attempts),
        **{"start_seconds": 60, "drain_seconds": 3, "cache_dir": str(folder / "cache"), **fields},
    )
    cgroup = folder / "cgroup"
    cgroup.mkdir(exist_ok=True)
    (cgroup / "memory.events").write_text("low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n")
    (cgroup / "memory.max").write_text(f"{2 * 2**30}\n")
    env = {"DORMOUSE_TEST_CGROUP": str(cgroup), "DORMOUSE_TEST_TIMING": json.dumps(timing or {})}
    return Pod(folder, config, [sys.executable, "-m", "tests.runtime.scripted"], env)


def make_config(**fields: Any) -> RuntimeConfig:
    """A configuration with ports of its own."""
    usual: dict[str, Any] = {
        "model": "tiny",
        "commit": "c0ffee",
        "source": "hf://a/b",
        "kv_cache_bytes": 2**26,
        "serving_port": free_port(),
        "admin_port": free_port(),
    }
    return RuntimeConfig(**{**usual, **fields})
