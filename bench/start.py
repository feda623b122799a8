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
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.engines import server
from dev import enginevenv
from dev.models import store
from dormouse_api.runtime import RuntimeState
from dormouse_runtime.supervisor.stats import resident_bytes

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
    stock, ports = engine == STOCK, (server.free_port(), server.free_port())
    if stock:
        command, env = stock_command(python, model, cache, ports[0])
    else:
        more = {"kv_cache_bytes": KV_BYTES, "max_model_len": 512}
        command, env = server.supervised(
            python, server.config(server.attempt(engine, model), cache, ports, **more), cache
        )
    with server.process(command, env, cache) as child:
        began = time.monotonic()
        server.until_healthy(child, ports[0])
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
    state = RuntimeState.model_validate_json(server.get(port, "/state") or b"")
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
