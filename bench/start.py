"""How long an engine takes from its process's start to its first healthy answer, without a cluster.

    python -m bench.start [--runs 3] [--json FILE]

`vllm as it comes` is vLLM's own server with the same flags, which starts three processes one after the other; the
others are the runtime's supervisor with the engine named. `cold` has an empty cache folder, `warm` the one of the run
before. The runs are interleaved, and the quickest counts: on a machine with other work, only the minimum comes near the
engine's own time. `CPU` is the processor time of the engine's processes until readiness, which other work hardly
changes. Memory is their resident sets at readiness, pages they share counted in each.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from http import client
from pathlib import Path

from dev import enginevenv
from dev.models import store
from dormouse_api.model import Engine
from dormouse_api.names import ENV_RUNTIME_CONFIG
from dormouse_api.runtime import Attempt, RuntimeConfig, RuntimeState
from dormouse_runtime.supervisor.stats import resident_bytes

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 300
KV_BYTES = 64 * 2**20
STOCK = "vllm as it comes"


@dataclass(frozen=True)
class Row:
    engine: str
    cache: str
    run: int
    seconds: float
    cpu_seconds: float
    mebibytes: int
    stages: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a bench that is stopped stops its engine too
    python, model = str(enginevenv.python()), store.ensure() / "dormouse" / "tiny-chat"
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs):
            for engine in (STOCK, "vllm", "transformers"):
                cache = Path(folder, engine.replace(" ", "-"))
                shutil.rmtree(cache, ignore_errors=True)
                for state in ("cold", "warm"):
                    rows.append(measure(python, model, engine, cache, run, state))
                    print(f"{engine}, {state}, run {run + 1}: {rows[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    table(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def measure(python: str, model: Path, engine: str, cache: Path, run: int, state: str) -> Row:
    """One start, timed and stopped again."""
    stock, ports = engine == STOCK, (free_port(), free_port())
    if stock:
        command, env = stock_command(python, model, cache, ports[0])
    else:
        command, env = our_command(python, model, engine, cache, ports)
    with process(command, env, cache) as child:
        began = time.monotonic()
        until_healthy(child, ports[0])
        seconds = time.monotonic() - began
        leader = child.pid if stock else engine_of(child.pid)
        spent, memory = cpu_seconds(leader), resident_bytes(leader) // 2**20
        stages = {} if stock else told_stages(ports[1])
    return Row(engine, state, run, round(seconds, 2), round(spent, 2), memory, stages)


def stock_command(python: str, model: Path, cache: Path, port: int) -> tuple[list[str], dict[str, str]]:
    flags = [f"--model={model}", f"--port={port}", "--host=127.0.0.1", "--max-model-len=512", "--enforce-eager"]
    flags += [f"--kv-cache-memory-bytes={KV_BYTES}", "--max-num-seqs=64", "--disable-uvicorn-access-log"]
    env = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CACHE_ROOT": str(cache / "vllm")}
    return [python, "-m", "vllm.entrypoints.openai.api_server", *flags], env


def our_command(
    python: str, model: Path, engine: str, cache: Path, ports: tuple[int, int]
) -> tuple[list[str], dict[str, str]]:
    config = RuntimeConfig(
        model="tiny",
        commit="bench",
        source="hf://dormouse/tiny-chat",
        attempts=(Attempt(engine=Engine(engine), model_dir=str(model)),),
        kv_cache_bytes=KV_BYTES,
        max_model_len=512,
        cache_dir=str(cache),
        serving_port=ports[0],
        admin_port=ports[1],
    )
    env = {
        ENV_RUNTIME_CONFIG: config.model_dump_json(),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_TERMINATION_LOG": str(cache / "termination"),
        "PYTHONPATH": f"{ROOT / 'crds'}:{ROOT / 'runtime'}",
        "TMPDIR": str(cache),
    }
    return [python, "-m", "dormouse_runtime", "serve"], env


@contextlib.contextmanager
def process(command: list[str], env: dict[str, str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        child = subprocess.Popen(
            command, env={**os.environ, **env}, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
        try:
            yield child
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
            raise SystemExit(f"the engine ended with exit code {child.returncode}: run its command by hand to see why")
        if get(port, "/health") is not None:
            return
        time.sleep(0.02)
    raise SystemExit(f"the engine was not healthy after {START_SECONDS} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str) -> bytes | None:
    connection = client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.read() if answer.status == client.OK else None
    except OSError:
        return None
    finally:
        connection.close()


def engine_of(supervisor: int) -> int:
    """The engine's process: the supervisor's one child, which leads a session of its own."""
    return int(Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()[0])


def cpu_seconds(leader: int) -> float:
    """Processor time of the session that `leader` opened, with that of children that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15])) if int(fields[3]) == leader else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def told_stages(port: int) -> dict[str, float]:
    """Seconds of each stage, by the supervisor's own timeline."""
    state = RuntimeState.model_validate_json(get(port, "/state") or b"")
    pairs = zip(state.timeline, state.timeline[1:], strict=False)
    return {here.stage.value: round(after.at - here.at, 2) for here, after in pairs}


def table(rows: list[Row]) -> None:
    print(
        f"{'engine':18} {'cache':6} {'quickest':>9} {'median':>8} {'CPU':>6} {'MiB':>6}  stages of the quickest run (s)"
    )
    for engine, cache in dict.fromkeys((row.engine, row.cache) for row in rows):
        these = sorted((row for row in rows if (row.engine, row.cache) == (engine, cache)), key=lambda row: row.seconds)
        best, median = these[0], statistics.median(row.seconds for row in these)
        spent = min(row.cpu_seconds for row in these)
        stages = " ".join(f"{stage} {seconds}" for stage, seconds in best.stages.items())
        print(f"{engine:18} {cache:6} {best.seconds:9.1f} {median:8.1f} {spent:6.1f} {best.mebibytes:6}  {stages}")


if __name__ == "__main__":
    main()
