"""Which Python the check runs its steps with, and what to do where there is none. Standard library only.

In order: the one that is asked for; the running one, if it holds everything; an environment made from a folder of
wheels or from the package index, exactly the pins of runtime/engine/requirements-gpu.txt with their hashes; else the
running one if it holds at least torch and transformers, and the steps that need more say so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LOCK = ROOT / "runtime" / "engine" / "requirements-gpu.txt"
ALL = ("torch", "transformers", "vllm", "bitsandbytes", "pydantic", "httpx", "uvicorn", "fastapi", "pynvml")
LEAST = ("torch", "transformers", "tokenizers", "pydantic", "httpx")
INSTALL_SECONDS = 420.0
LOOK = (
    "import importlib.util, json, sys; "
    "print(json.dumps([n for n in sys.argv[1:] if importlib.util.find_spec(n) is None]))"
)


class LacksError(Exception):
    """No Python here can run the check; the message says what is missing and how to bring it."""


@dataclass(frozen=True)
class Chosen:
    """An interpreter, and what it does not hold."""

    path: str
    lacks: tuple[str, ...]
    how: str


def choose(asked: str | None, wheels: Path | None, venv: Path) -> Chosen:
    """The interpreter to use. LacksError where nothing will do."""
    if asked:
        missing = lacks(asked)
        return _enough(Chosen(asked, missing, "as asked"), "")
    here, inside = sys.executable, str(venv / "bin" / "python")
    if not (missing := lacks(here)):
        return Chosen(here, missing, "the running Python")
    if (venv / ".whole").exists():
        return Chosen(inside, lacks(inside), f"the environment at {venv}")
    why = _make(venv, wheels)
    if not why:
        return Chosen(inside, lacks(inside), f"the environment at {venv}, made just now")
    return _enough(Chosen(here, missing, "the running Python"), why)


def lacks(python: str) -> tuple[str, ...]:
    """Which packages `python` has not; all of them where it does not run."""
    try:
        done = subprocess.run([python, "-c", LOOK, *ALL], capture_output=True, text=True, timeout=60, check=True)
        return tuple(json.loads(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return ALL


def collect(folder: Path) -> int:
    """Download every wheel of the lock into `folder`, to be carried to a machine without a network."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--only-binary=:all:", "--no-deps", "--require-hashes"]
    tags = ["manylinux1", "manylinux2010", "manylinux2014", *(f"manylinux_2_{minor}" for minor in range(5, 37))]
    where = ["--python-version", "3.12", *(f"--platform={tag}_x86_64" for tag in tags)]  # pip matches each exactly
    return subprocess.run([*command, *where, "-r", str(LOCK), "-d", str(folder)], check=False).returncode


def _make(venv: Path, wheels: Path | None) -> str:
    """Empty once `venv` is made; else why it could not be."""
    source = ["--no-index", "--find-links", str(wheels)] if wheels else []
    if wheels is not None and not wheels.is_dir():
        return f"{wheels} is no folder"
    print(f"making an environment at {venv} from {wheels or 'the package index'}", file=sys.stderr, flush=True)
    steps = (
        [sys.executable, "-m", "venv", "--clear", str(venv)],
        [
            str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--retries", "1", "--timeout", "15", "--require-hashes", *source, "-r", str(LOCK),
        ],
    )  # fmt: skip
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    for command in steps:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False, env=env
            )
        except subprocess.TimeoutExpired:
            return f"not installed within {INSTALL_SECONDS:.0f} s"
        if done.returncode:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            return said[-1][:300] if said else f"{command[2]} ended with {done.returncode}"
    (venv / ".whole").touch()
    return ""


def _enough(chosen: Chosen, why: str) -> Chosen:
    if missing := [name for name in LEAST if name in chosen.lacks]:
        raise LacksError(
            f"{chosen.path} lacks {', '.join(missing)}{f', and no environment could be made ({why})' if why else ''}: "
            "where there is a network run `python3 -m bench.gpucheck --collect FOLDER`, bring the folder here, and say "
            "--wheels FOLDER; or name a Python that has them with --python"
        )
    return chosen
