"""The batch bench's half with real vLLM: tokens a second beside `LLM.generate`, and interactive calls beside a batch.

The model is a random Llama of 77 M parameters, computed in float32 (few CPUs have bf16 and emulate it). Each line's
answer has the same number of tokens, whatever the model would say. One after the other, on the same machine: the peer
in a process of its own; then the runtime as a pod starts it, an ideal client straight at its engine with other prompts
(which warms it), and the batch through router and worker. All see the same flags, the same threads, the same prompts.
"""

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.batching import beside as interactive
from bench.batching import lines
from bench.batching.plant import Plant, product
from bench.batching.rows import Row
from bench.batching.run import Watched, run_batch
from bench.engines import midsize_cache, server
from bench.routing.processes import BenchError, family_cpu_seconds, python
from dev import enginevenv

SHARE = 0.95
"""Wanted: of the peer's tokens a second."""
WIDTH, LAYERS = 768, 10
KV_BYTES = 512 * 2**20
CONTEXT = 256
DIRECT = 8
"""One line in so many is what the ideal client asks: its rate needs no more."""


def options(group: "argparse._ArgumentGroup") -> None:
    group.add_argument("--vllm-lines", type=int, default=2000)
    group.add_argument("--words", type=int, default=5, help="of a prompt, three to four tokens each")
    group.add_argument("--tokens", type=int, default=16, help="of an answer")
    group.add_argument("--seqs", type=int, default=32, help="sequences at once, of the engine and of its peer")
    group.add_argument("--threads", type=int, help="of the peer's model; without it those that the runtime takes")
    group.add_argument("--vllm-beside", type=int, default=4000, help="lines of the batch beside interactive calls")
    group.add_argument("--vllm-rate", type=float, default=1.0, help="interactive calls of vLLM a second")


def throughput(folder: Path, given: argparse.Namespace) -> list[Row]:
    """The peer, the ideal client and the batch, one after the other."""
    file, direct = folder / "lines.jsonl", folder / "direct.jsonl"
    count = given.vllm_lines
    lines.write(file, range(count), given.words, given.tokens)
    asked_directly = max(2 * given.seqs, count // DIRECT)
    lines.write(direct, range(asked_directly), given.words, given.tokens, lines.DIRECT)
    say(f"{count} lines of {given.tokens} tokens: LLM.generate")
    peer = generate(folder, file, given)
    with engine(folder, given.seqs) as (process, port), product(folder, port) as made:
        say(f"LLM.generate: {peer['completion'] / peer['seconds']:.1f} tokens/s; {asked_directly} lines directly")
        command = python("bench.batching.ideal", port, direct, 2 * given.seqs)
        alone = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        say(f"directly: {asked_directly * given.tokens / alone:.1f} tokens/s; the batch")
        cpu = family_cpu_seconds(process)
        watched = asyncio.run(_batch(made, file))
        cpu = family_cpu_seconds(process) - cpu
        window, recorded = made.window(), made.tokens()
    if not watched.completion == recorded == peer["completion"] == count * given.tokens:
        raise BenchError(f"tokens: {watched.completion} in the output, {recorded} by the worker, {peer['completion']}")
    own = [
        Row("LLM.generate's CPU per token", peer["cpu"] / peer["completion"] * 1e3, "ms"),
        Row("the engine's CPU per token", cpu / watched.completion * 1e3, "ms"),
        Row("lines at once, at the end", window, "lines"),
    ]
    return _rows(watched, peer, asked_directly * given.tokens / alone) + own


def _rows(watched: Watched, peer: dict[str, float], direct: float) -> list[Row]:
    whole, rate = watched.completion / watched.ended, peer["completion"] / peer["seconds"]
    fed = watched.last - watched.validated
    return [
        Row("LLM.generate", rate, "tokens/s"),
        Row("the engine's server, ideal client", direct, "tokens/s"),
        Row("batch, from its creation to its end", whole, "tokens/s"),
        Row("batch, its lines", watched.completion / fed, "tokens/s"),
        Row("batch beside LLM.generate", whole / rate, "of it", whole / rate >= SHARE),
        Row("ideal client beside LLM.generate", direct / rate, "of it"),
        Row("tokens of a prompt", watched.prompt / watched.lines, "tokens"),
        Row("prompts were as long", float(watched.prompt == peer["prompt"]), "", watched.prompt == peer["prompt"]),
        Row("validated after", watched.validated, "s"),
        Row("files after the last line", watched.ended - watched.last, "s"),
        Row("worker's CPU per line", watched.worker_cpu / watched.lines * 1e3, "ms"),
        Row("router's CPU per line", watched.router_cpu / watched.lines * 1e3, "ms"),
        Row("load of the machine, last five minutes", os.getloadavg()[1], ""),
    ]


def beside(folder: Path, given: argparse.Namespace) -> list[Row]:
    """Interactive calls without and with a batch, which vLLM schedules by priority."""
    file = folder / "beside.jsonl"
    lines.write(file, range(given.vllm_beside), given.words, given.tokens)

    def body(number: int) -> bytes:
        return json.dumps(lines.body(number, given.words, given.tokens, lines.CALLED)).encode()

    calls = interactive.Calls(lines.COMPLETIONS, body, given.vllm_rate)
    with engine(folder, given.seqs) as (_, port), product(folder, port) as made:
        say("interactive calls, alone and beside a batch")
        return interactive.rows(asyncio.run(interactive.measure(made, file, calls, given.interactive, given.rest)))


async def _batch(made: Plant, file: Path) -> Watched:
    async with made.client() as client:
        return await run_batch(client, file, made.worker, made.router)


def generate(folder: Path, file: Path, given: argparse.Namespace) -> dict[str, float]:
    """Seconds and tokens of the peer."""
    command, env = _runtime(folder / "peer", given.seqs, (1, 2))
    more = [] if given.threads is None else ["--threads", str(given.threads)]
    peer = [command[0], "-m", "bench.batching.generate", str(file), *more]
    with (folder / "peer.log").open("w") as log:
        # In a session of its own, as the runtime is: a system that shares its processors by session favours neither.
        done = subprocess.run(
            peer,
            env={**os.environ, **env},
            cwd=server.ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            check=False,
            start_new_session=True,
        )
    if done.returncode:
        raise BenchError(f"LLM.generate: {(folder / 'peer.log').read_text()[-server.TAIL :]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextlib.contextmanager
def engine(folder: Path, seqs: int) -> Iterator[tuple[int, int]]:
    """The runtime's process, once its engine serves, and the port."""
    ports = (server.free_port(), server.free_port())
    command, env = _runtime(folder / "runtime", seqs, ports)
    with server.process(command, env, folder / "runtime") as child:
        server.until_healthy(child, ports[0])
        yield child.pid, ports[0]


def _runtime(scratch: Path, seqs: int, ports: tuple[int, int]) -> tuple[list[str], dict[str, str]]:
    scratch.mkdir(exist_ok=True)
    folder = midsize_cache.folder(WIDTH, LAYERS)
    more = {"kv_cache_bytes": KV_BYTES, "max_model_len": CONTEXT, "max_num_seqs": seqs, "dtype": "float32"}
    config = server.config(server.attempt("vllm", folder), scratch, ports, **more)
    command, env = server.supervised(str(enginevenv.python()), config, scratch)
    return command, env | {"PYTHONPATH": os.pathsep.join([str(server.ROOT), env["PYTHONPATH"]])}


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
