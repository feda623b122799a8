"""Tokens per second of the engines, beside transformers without a server, on one model and the same questions.

    python -m bench.engine [--clients 1,8,32] [--repeats 2] [--json FILE]

`vllm` and `transformers` are the runtime's own engines over HTTP (both batch continuously); `static` is one `generate`
for as many prompts as there are clients, `sequential` one for each prompt: what people write first. The model is a
random Llama of 77 M parameters in bf16, made on the spot: a smaller one measures Python. Lengths differ from question
to question (16 to 112 tokens), and only tokens that were asked for count. The engines take turns in every repeat; the
best of the repeats counts, and the ratio is to `sequential` at the same number of clients.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.engines import asking, midsize_cache, server
from bench.engines.questions import questions
from dev import enginevenv

KV_BYTES = 256 * 2**20
WIDTH, LAYERS = 768, 10
SERVED = ("vllm", "transformers")
BASE = "sequential"


@dataclass(frozen=True)
class Row:
    engine: str
    clients: int
    tokens_per_second: float
    first_token_seconds: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,8,32")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a bench that is stopped stops its engine too
    clients = [int(count) for count in options.clients.split(",")]
    rows: list[Row] = []
    for repeat in range(options.repeats):
        for engine in SERVED:
            rows += served(engine, clients)
            say(f"{engine}, repeat {repeat + 1} of {options.repeats}", rows[-len(clients) :])
        alone = plain(clients)
        rows += alone
        say(f"transformers alone, repeat {repeat + 1} of {options.repeats}", alone)
    table(best(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def served(engine: str, clients: list[int]) -> list[Row]:
    """One start of `engine`, one warm-up, and each number of clients."""
    with tempfile.TemporaryDirectory() as folder:
        scratch, ports = Path(folder), (server.free_port(), server.free_port())
        more = {"kv_cache_bytes": KV_BYTES, "max_model_len": 512, "dtype": "bfloat16"}
        runtime = server.config(server.attempt(engine, midsize_cache.folder(WIDTH, LAYERS)), scratch, ports, **more)
        command, env = server.supervised(str(enginevenv.python()), runtime, scratch)
        with server.process(command, env, scratch) as child:
            server.until_healthy(child, ports[0])
            asyncio.run(asking.ask(ports[0], questions(max(clients))[: max(clients)], max(clients)))
            return [_measured(engine, ports[0], count) for count in clients]


def _measured(engine: str, port: int, clients: int) -> Row:
    found = asyncio.run(asking.ask(port, questions(clients), clients))
    return Row(engine, clients, found.tokens_per_second, found.first_token_seconds)


def plain(clients: list[int]) -> list[Row]:
    command = [
        str(enginevenv.python()),
        "-m",
        "bench.engines.plain",
        str(midsize_cache.folder(WIDTH, LAYERS)),
        ",".join(map(str, clients)),
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=server.ROOT, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return [Row(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]


def best(rows: list[Row]) -> list[Row]:
    """The quickest of each engine and number of clients: other work only ever makes a run slower."""
    keys = dict.fromkeys((row.engine, row.clients) for row in rows)
    same = [[row for row in rows if (row.engine, row.clients) == key] for key in keys]
    return [max(these, key=lambda row: row.tokens_per_second) for these in same]


def table(rows: list[Row]) -> None:
    base = {row.clients: row.tokens_per_second for row in rows if row.engine == BASE}
    print(f"{'engine':14} {'clients':>7} {'tokens/s':>9} {'x ' + BASE:>13} {'first token':>12}")
    for row in sorted(rows, key=lambda row: row.clients):
        ratio = row.tokens_per_second / base[row.clients]
        first = f"{row.first_token_seconds * 1000:9.0f} ms" if row.first_token_seconds is not None else ""
        print(f"{row.engine:14} {row.clients:7} {row.tokens_per_second:9.0f} {ratio:13.2f} {first:>12}")


def say(what: str, rows: list[Row]) -> None:
    found = ", ".join(f"{row.engine} {row.tokens_per_second:.0f} at {row.clients}" for row in rows)
    print(f"{what}: {found} tokens/s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
