"""What a quantized copy on the volume saves: loading it, beside quantizing at every start.

    python -m bench.quantize [--methods int4,nf4] [--width 1536 --layers 20] [--repeats 2] [--json FILE]

A random Llama of 0.57 B parameters (1.1 GB in bf16 with the defaults) is made on the spot, and each copy by the Job's
own program. `load` is the loading stage of a start, by the supervisor's own timeline, with the files out of the page
cache before it: what a wake on another node pays, the same way for all. `at each start` is what quantizing costs a
start without a copy: for nf4 and llm-int8 bitsandbytes does it while it loads the weights as pulled, for fp8 vLLM does
(its fp8_per_channel); int4 and int8 vLLM cannot make while it loads, so there it is the making of the copy (without
Python's imports) plus its load. The best of the repeats counts. Random weights say nothing of quality: it is not
compared here.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.engines import midsize_cache, server
from dev import enginevenv
from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.results import Outcome
from dormouse_api.runtime import QuantizeConfig, RuntimeState, Stage

ONLINE = {
    "fp8": ("none", ("--quantization=fp8_per_channel",)),
    "nf4": ("nf4", ()),
    "llm-int8": ("llm-int8", ()),
}
"""How an engine quantizes by itself while it loads: what the attempt is called, and its arguments."""
ENGINE = {"int4": "vllm", "int8": "vllm", "fp8": "vllm", "nf4": "transformers", "llm-int8": "transformers"}
KV_BYTES = 128 * 2**20
MAKE_SECONDS = 1800


@dataclass(frozen=True)
class Row:
    """Seconds; bytes of the weights' files. `at_start_seconds`: quantizing and loading at every start."""

    method: str
    engine: str
    source_bytes: int
    copy_bytes: int
    made_seconds: float
    load_seconds: float
    at_start_seconds: float
    online: bool
    """The engine quantizes while it loads; else the copy would be made at each start."""
    busy: float
    """The machine's load average of the last minute, when the row was done."""

    @property
    def ratio(self) -> float:
        """How many times longer a start takes without the copy."""
        return self.at_start_seconds / self.load_seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default=",".join(ENGINE))
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a bench that is stopped stops its engine too
    source = midsize_cache.folder(options.width, options.layers)
    rows = []
    for method in options.methods.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(measure(source, method, Path(scratch), options.repeats))
        say(rows[-1])
    table(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


def measure(source: Path, method: str, scratch: Path, repeats: int) -> Row:
    """Make the copy once; then start from it, and without it, in turns."""
    copy, engine = scratch / f"{source.name}-{method}", ENGINE[method]
    made = make(source, copy, method, scratch)
    loads, plain = [], []
    for _ in range(repeats):
        loads.append(load_seconds(engine, copy, method, scratch))
        if method in ONLINE:
            called, arguments = ONLINE[method]
            plain.append(load_seconds(engine, source, called, scratch, arguments))
    at_start = min(plain) if plain else made + min(loads)
    sizes = weights(source), weights(copy)
    return Row(method, engine, *sizes, made, min(loads), at_start, method in ONLINE, os.getloadavg()[0])


def make(source: Path, copy: Path, method: str, scratch: Path) -> float:
    """Seconds of the Job's own program, less its imports; raises with what it said when it fails."""
    config = QuantizeConfig(
        source="hf://dormouse/bench",
        commit="bench",
        model_dir=str(source),
        out_dir=str(copy),
        method=method,
        compare=False,
        cache_dir=str(scratch),
        admin_port=server.free_port(),
    )
    termination = scratch / "termination"
    env = {
        ENV_QUANTIZE_CONFIG: config.model_dump_json(),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_TERMINATION_LOG": str(termination),
        "PYTHONPATH": f"{server.ROOT / 'crds'}:{server.ROOT / 'runtime'}",
    }
    command = [str(enginevenv.python()), "-m", "dormouse_runtime", "quantize"]
    done = subprocess.run(
        command, env={**os.environ, **env}, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=MAKE_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the {method} copy could not be made: {termination.read_text()}\n{done.stdout[-2000:]}")
    told = Outcome.model_validate_json(termination.read_text()).quantize
    if told is None:
        raise SystemExit(f"the {method} Job ended well without a result: {termination.read_text()}")
    return told.seconds


def load_seconds(engine: str, folder: Path, method: str, scratch: Path, arguments: tuple[str, ...] = ()) -> float:
    """Seconds of the loading stage of one start, the files being on the disk alone before it."""
    forget(folder)
    cache, ports = scratch / "cache", (server.free_port(), server.free_port())
    shutil.rmtree(cache, ignore_errors=True)
    more = {"kv_cache_bytes": KV_BYTES, "max_model_len": 512, "dtype": "bfloat16", "args": arguments}
    runtime = server.config(server.attempt(engine, folder, method), cache, ports, **more)
    command, env = server.supervised(str(enginevenv.python()), runtime, cache)
    with server.process(command, env, cache) as child:
        server.until_healthy(child, ports[0])
        state = RuntimeState.model_validate_json(server.get(ports[1], "/state") or b"")
    return loading(state)


def loading(state: RuntimeState) -> float:
    """Seconds between the beginning of the stage `loading` and that of the next one."""
    pairs = zip(state.timeline, state.timeline[1:], strict=False)
    return sum(after.at - here.at for here, after in pairs if here.stage is Stage.LOADING)


def forget(folder: Path) -> None:
    """Let the kernel drop the files' pages: a start on another node finds none of them."""
    os.sync()
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def weights(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def table(rows: list[Row]) -> None:
    heads = f"{'copy':9} {'engine':13} {'GB pulled':>9} {'GB copy':>8} {'made s':>7} {'load s':>7}"
    print(f"{heads} {'at each start s':>15} {'ratio':>6}  {'quantized':16} {'busy':>5}")
    for row in rows:
        sizes = f"{row.source_bytes / 1e9:9.2f} {row.copy_bytes / 1e9:8.2f}"
        print(
            f"{row.method:9} {row.engine:13} {sizes} {row.made_seconds:7.1f} {row.load_seconds:7.1f} "
            f"{row.at_start_seconds:15.1f} {row.ratio:6.2f}  {'while it loads' if row.online else 'by a new copy':16} "
            f"{row.busy:5.1f}"
        )


def say(row: Row) -> None:
    print(
        f"{row.method}: made in {row.made_seconds:.0f} s, loads in {row.load_seconds:.1f} s",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
