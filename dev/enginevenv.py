"""The CPU engine's virtual environment (torch, transformers, vLLM), made once per machine and kept in the cache.

`python -m dev.enginevenv` makes it if it is missing and prints the path of its interpreter. The packages are exactly
the pins of runtime/engine/requirements-cpu.txt, which the runtime image installs too; the workspace's lock never holds
torch. Standard library only, so that it runs before the workspace's environment exists.
Knows nothing of models, images or clusters.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from dev import cache
from dev.uv import program

ENGINE = Path(__file__).resolve().parent.parent / "runtime" / "engine"
REQUIREMENTS = ENGINE / "requirements-cpu.txt"
QUANTIZER = ENGINE.parent / "quantizer" / "requirements.txt"
PRUNE = ENGINE / "prune_torch.sh"
HEARTBEAT_SECONDS = 10.0
SMOKE = "import torch, transformers, bitsandbytes, diffusers, vllm._C"
SMOKE_QUANTIZER = "import torch, transformers, llmcompressor, uvicorn"


class EngineError(Exception):
    """The environment could not be made; the message says what to do."""


def ensure() -> Path:
    """Directory of the finished virtual environment, made first if it is missing."""
    base = interpreter()
    key = cache.key("relocatable", base, REQUIREMENTS, PRUNE)
    return cache.publish(
        "engine",
        key,
        lambda venv: _install(venv, base, REQUIREMENTS, SMOKE),
        what="the engine's Python",
        expect="about a minute, 4.6 GB",
    )


def python() -> Path:
    """The interpreter inside the environment."""
    return ensure() / "bin" / "python"


def quantizer() -> Path:
    """The interpreter of the other environment: llmcompressor's, whose pins conflict with the engine's."""
    base = interpreter()
    key = cache.key("relocatable", base, QUANTIZER, PRUNE)
    venv = cache.publish(
        "quantizer",
        key,
        lambda venv: _install(venv, base, QUANTIZER, SMOKE_QUANTIZER),
        what="the quantizer's Python",
        expect="about a minute, 3 GB",
    )
    return venv / "bin" / "python"


def interpreter() -> str:
    """The Python the pins were compiled for, or the running one when the machine has no other."""
    return shutil.which("python3.11", path="/usr/bin:/usr/local/bin") or os.path.realpath(sys.executable)


def _install(venv: Path, base: str, requirements: Path, smoke: str) -> None:
    uv, inside = str(program()), str(venv / "bin" / "python")
    count = sum(1 for line in requirements.read_text().splitlines() if line[:1].isalnum())
    # Relocatable: the cache builds an entry under a scratch name, and an image may copy it.
    _step("make the environment", [uv, "venv", "--quiet", "--clear", "--relocatable", "--python", base, str(venv)])
    _step(
        f"install {count} packages and compile them",
        [uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", inside, str(requirements)],
    )
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    _step("drop CUDA files that a CPU never opens", ["sh", str(PRUNE), str(site_packages)])
    _step(smoke, [inside, "-c", smoke])


def _step(title: str, command: list[str]) -> None:
    """Run one command, saying every few seconds that it still runs; raise with its output when it fails."""
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        output = ""
        while process.poll() is None:
            try:
                output = process.communicate(timeout=HEARTBEAT_SECONDS)[0]
            except subprocess.TimeoutExpired:
                cache.say(f"engine: {title} ... {time.monotonic() - started:.0f} s")
    if process.returncode:
        hint = " (apt-get install -y libnuma1)" if "libnuma" in output else ""
        raise EngineError(f"could not {title}{hint}:\n{output[-2000:]}")
    cache.say(f"engine: {title}: {time.monotonic() - started:.1f} s")


if __name__ == "__main__":
    print(python())
