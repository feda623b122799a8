"""`make gpu-check`, or `python3 -m bench.gpucheck`: see docs/gpu.md.

    --cpu              rehearse all of it on a CPU with tiny models: proves the check, not the device
    --steps A,B        only these
    --minutes 9.5      stop beginning steps in time for a machine that is lent by the ten minutes
    --wheels FOLDER    install from a folder that `--collect FOLDER` has filled where there was a network
    --python PATH      use this Python
    --json FILE        where the report goes (default: gpu-check.json)

Exit status: 0, 1 where a step failed, 2 where there is nothing to check.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from bench.gpucheck import python, running
from bench.gpucheck.running import Step
from dev import cache, enginevenv

NEEDS: dict[str, tuple[tuple[str, ...], float]] = {
    "machine": ((), 60),
    "models": ((), 120),
    "vllm-start": (("vllm",), 300),
    "vllm-speed": (("vllm",), 180),
    "transformers-speed": (("uvicorn", "fastapi"), 150),
    "plain-speed": ((), 150),
    "quantize-nf4": (("bitsandbytes", "uvicorn", "fastapi"), 150),
    "quantize-int4": (("vllm",), 240),
    "sleep": (("vllm",), 180),
    "watching": (("vllm", "pynvml"), 120),
    "adapt": (("vllm",), 240),
}
"""In order: the packages each step needs, and its longest time."""


def devices() -> int:
    """NVIDIA GPUs that the driver gives this process; 0 without a driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    return count.value if cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.collect:
        return python.collect(options.collect)
    if unknown := set(options.steps) - set(NEEDS):
        print(f"there is no step {', '.join(sorted(unknown))}: choose among {', '.join(NEEDS)}", file=sys.stderr)
        return 2
    if not options.cpu and not devices():
        print(
            "no NVIDIA GPU: run this on a machine with one and its driver, or rehearse it with --cpu", file=sys.stderr
        )
        return 2
    end = time.monotonic() + options.minutes * 60
    try:
        chosen = _python(options)
    except python.LacksError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"with {chosen.path} ({chosen.how})", file=sys.stderr, flush=True)
    device = "cpu" if options.cpu else "cuda"
    outcomes = running.run(_steps(options, chosen, device), end - time.monotonic())
    print(running.table(outcomes))
    options.json.write_text(running.report(outcomes, {"device": device, "python": chosen.path, "at": time.time()}))
    return running.status(outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python3 -m bench.gpucheck", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=list(NEEDS))
    parser.add_argument("--minutes", type=float, default=9.5)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--collect", type=Path)
    parser.add_argument("--python")
    parser.add_argument("--json", type=Path, default=Path("gpu-check.json"))
    return parser.parse_args()


def _python(options: argparse.Namespace) -> python.Chosen:
    if options.cpu:
        path = options.python or str(enginevenv.python())
        return python.Chosen(path, python.lacks(path), "the CPU engine's environment")
    return python.choose(options.python, options.wheels, cache.root() / "gpucheck" / "venv")


def _steps(options: argparse.Namespace, chosen: python.Chosen, device: str) -> list[Step]:
    work = cache.root() / "gpucheck" / device
    work.mkdir(parents=True, exist_ok=True)
    inside = [chosen.path, "-m", "bench.gpucheck.steps"]
    os.environ["PYTHONPATH"] = os.pathsep.join(str(python.ROOT / part) for part in ("", "crds", "runtime"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that spin for each other are no rehearsal's business
    found = []
    for name in options.steps:
        needs, seconds = NEEDS[name]
        skips = device == "cpu" and name in ("watching", "adapt")  # they say so themselves
        lacks = () if skips else tuple(each for each in needs if each in chosen.lacks)
        found.append(Step(name, [*inside, name, device, str(work)], seconds, lacks))
    return found


if __name__ == "__main__":
    sys.exit(main())
