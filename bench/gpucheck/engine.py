"""Where the check runs, and the engines it starts: as pods start them, by the runtime's own supervisor."""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.engines import server
from dormouse_api.gpu import GpuReport
from dormouse_api.runtime import RuntimeState, Stage

GIB = 2**30


@dataclass(frozen=True)
class Place:
    """Where the step runs, and on models of which size."""

    device: str
    folder: Path

    @property
    def real(self) -> bool:
        return self.device == "cuda"

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and layers: 73 M and 1.0 B parameters, or next to nothing."""
        return {"mid": (768, 10), "big": (2048, 20)} if self.real else {"mid": (128, 2), "big": (256, 2)}

    @property
    def clients(self) -> list[int]:
        return [1, 8, 32, 128] if self.real else [1, 4]

    def model(self, name: str) -> Path:
        folder = self.folder / name
        if not (folder / "config.json").is_file():
            raise SystemExit(f"{folder} is not there: run the step models first")
        return folder


@dataclass
class Engine:
    """An engine that serves, started by the supervisor."""

    serving: int
    admin: int
    state: RuntimeState

    def stages(self) -> dict[str, float]:
        """Seconds from the beginning of each stage to that of the next."""
        line = self.state.timeline
        spent = {
            here.stage.value: after.at - here.at
            for here, after in itertools.pairwise(line)
            if here.stage is not Stage.READY
        }
        return {**spent, "all": line[-1].at - line[0].at}

    def report(self) -> GpuReport:
        return GpuReport.model_validate_json(server.get(self.admin, "/gpus") or b"{}")

    def memory(self) -> float | None:
        """GiB in use on all its devices."""
        used = [gpu.memory_used for gpu in self.report().gpus if gpu.memory_used is not None]
        return round(sum(used) / GIB, 2) if used else None

    def post(self, path: str, body: Any = None) -> Any:
        answer = httpx.post(f"http://127.0.0.1:{self.serving}{path}", json=body, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def words(self) -> str:
        """The likeliest 16 tokens after a prompt."""
        body = {"model": "bench", "prompt": "Tell me", "max_tokens": 16, "temperature": 0, "ignore_eos": True}
        return str(self.post("/v1/completions", body)["choices"][0]["text"])


@contextlib.contextmanager
def engine(place: Place, name: str, folder: Path, quantization: str = "none", **more: Any) -> Iterator[Engine]:
    """A runtime of one engine; its caches stay where they are between steps."""
    cache = place.folder / "cache"
    cache.mkdir(exist_ok=True)
    ports = (server.free_port(), server.free_port())
    usual = {
        "device": place.device,
        "kv_cache_bytes": 2 * GIB if place.real else GIB // 4,
        "max_model_len": 512,
        "dtype": "bfloat16",
        "max_num_seqs": 128,
        "start_seconds": 240,
    }
    extra = {"env": more.pop("env", {})}
    config = server.config(server.attempt(name, folder, quantization), cache, ports, **{**usual, **more})
    command, env = server.supervised(sys.executable, config, cache)
    with server.process(command, {**env, **extra["env"]}, cache) as child:
        try:
            server.until_healthy(child, ports[0])
            yield Engine(*ports, _ready(ports[1]))
        except BaseException:
            print((cache / "log").read_text()[-4000:], flush=True)
            raise


def _ready(port: int) -> RuntimeState:
    for _ in range(100):
        state = RuntimeState.model_validate_json(server.get(port, "/state") or b"")
        if state.stage is Stage.READY:
            return state
        time.sleep(0.1)
    raise SystemExit(f"the engine answers and its supervisor says {state.stage.value}")
