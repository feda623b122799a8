"""python -m bench.batch: batches beside an ideal client of the same engine, and interactive calls beside a batch.

`throughput` and `beside` have a scripted engine (bench/batching/engine.py): so many slots, each of which takes a
request for a while. Its rate is known, so what the product loses of it is the product's. `vllm` and `vllm-beside` are
the same with a real one (bench/batching/real.py), whose peer is `LLM.generate`. Exit status 1 where a target is missed.
"""

import argparse
import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.batching import beside as interactive
from bench.batching import real, validating
from bench.batching.plant import Plant, cores, product
from bench.batching.rows import Row, keep, tell
from bench.batching.run import CHAT, Watched, run_batch, write_lines
from bench.routing.bodies import SMALL_CHAT
from bench.routing.processes import free_port, python, running

SHARE, GROWTH = 0.9, 16 * 2**20
"""Wanted: of the ideal client's lines a second; bytes the worker may grow."""


@contextlib.contextmanager
def plant(folder: Path, slots: int, seconds: float, crowding: float) -> Iterator[Plant]:
    """Engine, load and worker on one core, the router on another."""
    engine = free_port()
    with (
        running(python("bench.batching.engine", engine, slots, seconds, crowding), 0, engine),
        product(folder, engine, router_core=1 % cores(), worker_core=0) as made,
    ):
        yield made


def throughput(folder: Path, given: argparse.Namespace) -> list[Row]:
    """A batch, and the same lines by an ideal client, one after the other, on the same engine."""
    file = folder / "lines.jsonl"
    write_lines(file, given.lines, given.bytes)
    with plant(folder, given.slots, given.seconds, 0.0) as made:
        command = python("bench.batching.ideal", made.engine_port, file, 2 * given.slots)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        ideal = given.lines / float(done.stdout)
        watched = asyncio.run(_batch(made, file))
        window = made.window()
    rate, whole = watched.lines / (watched.last - watched.validated), watched.lines / watched.ended
    return [
        Row("what the slots bear", given.slots / given.seconds, "lines/s"),
        Row("ideal client", ideal, "lines/s"),
        Row("batch, from its creation to its end", whole, "lines/s"),
        Row("batch, its lines", rate, "lines/s"),
        Row("batch beside the ideal client", whole / ideal, "of it", whole / ideal >= SHARE),
        Row("lines beside the ideal client", rate / ideal, "of it"),
        Row("upload", watched.upload, "s"),
        Row("validated after", watched.validated, "s"),
        Row("files after the last line", watched.ended - watched.last, "s"),
        Row("worker's CPU per line", watched.worker_cpu / watched.lines * 1e6, "µs"),
        Row("router's CPU per line", watched.router_cpu / watched.lines * 1e6, "µs"),
        Row("lines at once, at the end", window, "lines"),
        *_memory(watched),
    ]


def validation(folder: Path, given: argparse.Namespace) -> list[Row]:
    """The same lines looked at by a worker that may ask none yet."""
    file = folder / "lines.jsonl"
    write_lines(file, given.lines, given.bytes)
    return validating.rows(folder, file, given.lines, given.batches)


def _memory(watched: Watched) -> list[Row]:
    """Once the window has been found, the worker's memory no longer grows with what was answered."""
    at_work = [size for at, size in watched.memory if watched.validated < at < watched.last]
    third = max(1, len(at_work) // 3)
    early, late = max(at_work[:third]), max(at_work[-third:])
    return [
        Row("worker's memory, most", max(at_work) / 2**20, "MiB"),
        Row("its growth, first to last third", (late - early) / 2**20, "MiB", late - early <= GROWTH),
    ]


def beside(folder: Path, given: argparse.Namespace) -> list[Row]:
    """Interactive calls without and with a batch on the same model, whose answers come slower from a fuller engine."""
    file = folder / "beside.jsonl"
    write_lines(file, given.beside, given.bytes)
    calls = interactive.Calls(CHAT, lambda _: SMALL_CHAT, given.rate)
    with plant(folder, given.slots, given.seconds, given.crowding) as made:
        return interactive.rows(asyncio.run(interactive.measure(made, file, calls, given.interactive, given.rest)))


async def _batch(made: Plant, file: Path) -> Watched:
    async with made.client() as client:
        return await run_batch(client, file, made.worker, made.router)


PARTS = {
    "validation": validation,
    "throughput": throughput,
    "beside": beside,
    "vllm": real.throughput,
    "vllm-beside": real.beside,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="validation,throughput,beside", help=",".join(PARTS))
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--bytes", type=int, default=1000, help="of a line")
    parser.add_argument("--batches", type=int, default=4, help="that are validated one after the other")
    parser.add_argument("--slots", type=int, default=128, help="of the engine")
    parser.add_argument("--seconds", type=float, default=0.2, help="that a slot takes for a line")
    parser.add_argument("--crowding", type=float, default=1.0, help="how much longer where all slots are in use")
    parser.add_argument("--beside", type=int, default=40_000, help="lines of the batch beside interactive calls")
    parser.add_argument("--rate", type=float, default=5.0, help="interactive calls a second")
    parser.add_argument("--interactive", type=float, default=60.0, help="seconds of calls, alone and beside a batch")
    parser.add_argument("--rest", type=float, default=interactive.REST, help="seconds a batch is alone between them")
    parser.add_argument("--json", type=Path)
    real.options(parser.add_argument_group("real vLLM"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a bench that is stopped stops its engines too
    rows: list[Row] = []
    for part in given.parts.split(","):
        with tempfile.TemporaryDirectory(prefix="dormouse-batch-") as folder:
            found = PARTS[part](Path(folder), given)
        tell(found)
        rows += found
    if given.json is not None:
        keep(rows, given.json)
    return 1 if any(row.wanted is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
