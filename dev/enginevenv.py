"""The CPU engine's virtual environment (torch, transformers, vLLM), made once per machine and kept in the cache.

`python -m dev.enginevenv` makes it if it is missing and prints the path of its interpreter. The packages are exactly the pins
of runtime/engine/requirements-cpu.txt, which the runtime image installs too; the workspace's own lock never holds torch.
Knows nothing of models, images or clusters.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ENGINE = Path(__file__).resolve().parent.parent / "runtime" / "engine"
REQUIREMENTS = ENGINE / "requirements-cpu.txt"
PRUNE = ENGINE / "prune_torch.sh"
HEARTBEAT_SECONDS = 10.0
SMOKE = "import torch, transformers, bitsandbytes, diffusers, vllm._C"


class EngineError(Exception):
    """The environment could not be made; the message says what to do."""


def ensure() -> Path:
    """Directory of the finished virtual environment, made first if it is missing (about 1.5 minutes, 4.6 GB)."""
    root = cache_root() / "engine"
    root.mkdir(parents=True, exist_ok=True)
    venv = root / key()
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two installs of 4.6 GB at once would fight for the disk
        if not (venv / ".complete").exists():
            _install(venv)
            (venv / ".complete").touch()
    return venv


def cache_root() -> Path:
    """Where this machine keeps what is built once."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DORMOUSE_CACHE") or Path(base) / "dormouse")


def python() -> Path:
    """The interpreter inside the environment."""
    return ensure() / "bin" / "python"


def key() -> str:
    """Changes whenever a rebuilt environment would differ."""
    digest = hashlib.sha256(interpreter().encode())
    for path in (REQUIREMENTS, PRUNE):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def interpreter() -> str:
    """The Python the pins were compiled for, or the running one when the machine has no other."""
    return shutil.which("python3.11", path="/usr/bin:/usr/local/bin") or os.path.realpath(sys.executable)


def _install(venv: Path) -> None:
    uv = _uv()
    count = sum(1 for line in REQUIREMENTS.read_text().splitlines() if line[:1].isalnum())
    _step("make the environment", [*uv, "venv", "--quiet", "--clear", "--python", interpreter(), str(venv)])
    sync = [*uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", str(venv / "bin" / "python"), str(REQUIREMENTS)]
    _step(f"install {count} packages and compile them (about a minute, 4.6 GB)", sync)
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    _step("drop CUDA files that a CPU never opens", ["sh", str(PRUNE), str(site_packages)])
    _step("import torch, transformers and vLLM", [str(venv / "bin" / "python"), "-c", SMOKE])


def _uv() -> list[str]:
    kept = cache_root() / "tools" / "uv"
    found = str(kept) if kept.exists() else shutil.which("uv")
    return [found] if found else [sys.executable, "-m", "uv"]


def _step(title: str, command: list[str]) -> None:
    """Run one command, saying every few seconds that it still runs; raise with its output when it fails."""
    print(f"engine: {title} ...", file=sys.stderr, flush=True)
    started = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        output = ""
        while process.poll() is None:
            try:
                output = process.communicate(timeout=HEARTBEAT_SECONDS)[0]
            except subprocess.TimeoutExpired:
                print(f"engine:   {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if process.returncode:
        hint = " (apt-get install -y libnuma1)" if "libnuma" in output else ""
        raise EngineError(f"could not {title}{hint}:\n{output[-2000:]}")
    print(f"engine: {title}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)


if __name__ == "__main__":
    print(python())
