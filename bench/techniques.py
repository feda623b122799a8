"""What each technique of a short start brings: stage by stage, cold and warm, without a cluster.

    python -m bench.techniques [--only 4,5] [--runs 1] [--json FILE]

Rows switch the product's techniques on one after the other, from vLLM's own server to the product (`bench.rung` leaves
out the rest). A start goes from the supervisor's process to the first token of a streamed chat. `cold`: the engine's
files and the weights are taken out of the page cache (posix_fadvise: what another process maps stays) and the cache
folder is empty; `warm`: the start after it. Stages are the supervisor's own timeline; `untold` is from the engine's
process to its first word. vLLM's own server says nothing of its imports; of our launcher's starts more than 5 % untold
fails the bench. Engines compile only where a C++ compiler is.
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from http import client
from pathlib import Path

from bench.engines import server
from dev import enginevenv
from dev.models import store
from dormouse_api.runtime import RuntimeState

KV_BYTES = 64 * 2**20
UNTOLD = 0.05
WANTED = 0.5
QUESTION = "What is the capital of France?"
PROBE_SECONDS = 1.0
"""Of a probe that asks at intervals, as a kubelet's does; a held one has its answer at once."""
RUNGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vLLM's own, no bytecode", ("bytecode", "eager", "launcher", "uni", "preload", "push")),
    ("+ bytecode", ("eager", "launcher", "uni", "preload", "push")),
    ("+ eager", ("launcher", "uni", "preload", "push")),
    ("+ imported once, forked", ("uni", "preload", "push")),
    ("+ one process", ("preload", "push")),
    ("+ weights read ahead", ("push",)),
    ("+ readiness pushed: the product", ()),
)
"""Each row, and what is still left out in it."""
COLUMNS = ("supervisor", "untold", "importing", "loading", "compiling", "warming", "told", "first token")
NAMES = {"starting": "untold", "ready": "told"}


@dataclass(frozen=True)
class Row:
    technique: str
    cache: str
    run: int
    seconds: float
    """From the supervisor's process to the first token."""
    stages: dict[str, float]
    load: float
    """The machine's load average then."""

    @property
    def untold(self) -> float:
        """The share of the start that no stage explains."""
        return 1.0 - sum(seconds for name, seconds in self.stages.items() if name != "untold") / self.seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", help="numbers of rows, from 0, separated by commas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a bench that is stopped stops its engine too
    python, model = enginevenv.python(), store.ensure() / "dormouse" / "tiny-chat"
    chosen = [int(n) for n in options.only.split(",")] if options.only else range(len(RUNGS))
    rows = []
    for run in range(options.runs):
        for number in chosen:
            technique, without = RUNGS[number]
            with tempfile.TemporaryDirectory() as folder:
                for cache in ("cold", "warm"):
                    if cache == "cold":
                        chill(python.parent.parent, model)
                    rows.append(measure((str(python), model), (technique, without), Path(folder), (cache, run)))
                    print(f"{technique}, {cache}: {rows[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))
    bad = [row for row in rows if "launcher" not in dict(RUNGS)[row.technique] and row.untold > UNTOLD]
    for row in bad:
        print(f"{row.technique}, {row.cache}: {row.untold:.0%} of the start are in no stage", file=sys.stderr)
    return 1 if bad else 0


def chill(*folders: Path) -> None:
    """Take all files below out of the page cache."""
    os.sync()
    for folder in folders:
        for path in folder.rglob("*"):
            with suppress(OSError):
                file = os.open(path, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def measure(engine: tuple[str, Path], rung: tuple[str, tuple[str, ...]], cache: Path, which: tuple[str, int]) -> Row:
    """One start, to its first token, and stopped again."""
    (python, model), (technique, without), ports = engine, rung, (server.free_port(), server.free_port())
    config = server.config(server.attempt("vllm", model), cache, ports, kv_cache_bytes=KV_BYTES, max_model_len=512)
    _, env = server.supervised(python, config, cache)
    env |= {"BENCH_WITHOUT": ",".join(without), "PYTHONPATH": f"{env['PYTHONPATH']}:{server.ROOT}"}
    began = time.time()
    with server.process([python, "-m", "bench.rung"], env, cache) as child:
        until_told(child.pid, ports[1], held="push" not in without)
        told = time.time()
        first_token(ports[0])
        ended = time.time()
        state = RuntimeState.model_validate_json(server.get(ports[1], "/state") or b"")
    moments = [("supervisor", began), *((entry.stage.value, entry.at) for entry in state.timeline), ("told", told)]
    stages = dict.fromkeys(COLUMNS, 0.0)
    for (stage, at), (_, till) in itertools.pairwise(moments):
        stages[NAMES.get(stage, stage)] += till - at
    stages["first token"] = ended - told
    wall = ended - began
    return Row(technique, *which, round(wall, 2), {k: round(v, 2) for k, v in stages.items()}, os.getloadavg()[0])


def until_told(pid: int, port: int, *, held: bool) -> None:
    """As a kubelet: one probe that is held until the engine is ready, or one a second that is answered at once."""
    end = time.monotonic() + server.START_SECONDS
    while time.monotonic() < end:
        if held:
            if server.get(port, "/readyz", seconds=60) is not None:
                return
            time.sleep(0.05)
        else:
            state = server.get(port, "/state")
            if state is not None and RuntimeState.model_validate_json(state).stage == "ready":
                return
            time.sleep(PROBE_SECONDS)
        if not Path(f"/proc/{pid}/exe").exists():
            break
    raise SystemExit("the engine does not start: run `python -m bench.start` to see why")


def first_token(port: int) -> None:
    """A streamed chat, until its first words have come."""
    body = {
        "model": "bench",
        "stream": True,
        "messages": [{"role": "user", "content": QUESTION}],
    }
    connection = client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    for line in answer:
        if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
            break
    else:
        raise SystemExit(f"no token came: {answer.status}")
    connection.close()


def table(rows: list[Row]) -> str:
    """A line for each row and cache, and what warm is of cold."""
    lines = [f"| technique | cache | {' | '.join(COLUMNS)} | first byte to first token | warm/cold | load |"]
    lines.append("|" + "---|" * (len(COLUMNS) + 5))
    walls: dict[tuple[str, str], float] = {}
    for technique, cache in dict.fromkeys((row.technique, row.cache) for row in rows):
        these = [row for row in rows if (row.technique, row.cache) == (technique, cache)]
        walls[technique, cache] = wall = statistics.median(row.seconds for row in these)
        cells = [f"{statistics.median(row.stages[name] for row in these):.2f}" for name in COLUMNS]
        ratio = f"{wall / walls[technique, 'cold']:.2f}" if cache == "warm" else ""
        lines.append(f"| {technique} | {cache} | {' | '.join(cells)} | {wall:.2f} | {ratio} | {these[0].load:.0f} |")
    first, last = rows[0].technique, rows[-1].technique
    for what, cold in (("the same row's cold", walls[last, "cold"]), (f"cold of '{first}'", walls[first, "cold"])):
        share = walls[last, "warm"] / cold
        verdict = "met" if share <= WANTED else "missed"
        lines.append(f"warm of '{last}' is {share:.2f} of {what}: {verdict} (at most {WANTED})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
