"""An engine's process: started with the runtime's own supervisor, waited for, and ended by its id. No cluster."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from http import client
from pathlib import Path

from dormouse_api.model import Engine
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.runtime import Attempt, RuntimeConfig

ROOT = Path(__file__).resolve().parent.parent.parent
START_SECONDS = 300
TAIL = 3000
"""Characters of an engine's log that are told when it ends too soon."""


def supervised(python: str, config: RuntimeConfig, cache: Path) -> tuple[list[str], dict[str, str]]:
    """The supervisor's command line and environment for `config`."""
    env = {
        ENV_RUNTIME_CONFIG: config.model_dump_json(),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_TERMINATION_LOG": str(cache / "termination"),
        "PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'runtime'}",
        "TMPDIR": str(cache),
    }
    return [python, "-m", "dormouse_runtime", "serve"], env


def attempt(engine: str, folder: Path, quantization: str = "none") -> Attempt:
    """What a runtime is to try: one engine on one folder."""
    return Attempt(engine=Engine(engine), model_dir=str(folder), quantization=quantization)


def config(only: Attempt, cache: Path, ports: tuple[int, int], **more: object) -> RuntimeConfig:
    """A runtime of one engine, which knows its model as `bench`; `ports`: serving and admin."""
    return RuntimeConfig.model_validate(
        {
            "model": "bench",
            "commit": "bench",
            "source": "hf://dormouse/bench",
            "attempts": (only,),
            "cache_dir": str(cache),
            "serving_port": ports[0],
            "admin_port": ports[1],
            **more,
        }
    )


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
        try:
            yield child
        except SystemExit as error:
            raise SystemExit(f"{error}\n{(folder / 'log').read_text(errors='replace')[-TAIL:]}") from None
        finally:
            child.terminate()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def until_healthy(child: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if child.poll() is not None:
            raise SystemExit(f"the engine ended with exit code {child.returncode}; the end of its log:")
        if get(port, "/health") is not None:
            return
        time.sleep(0.02)
    raise SystemExit(f"the engine was not healthy after {START_SECONDS} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str, seconds: float = 5) -> bytes | None:
    connection = client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == client.OK else None
    except OSError:
        return None
    finally:
        connection.close()
