"""Runs in the engine's Python: what vLLM and transformers make of folders that ask for code, as JSON.

`python smuggled.py ROOT`: each folder below ROOT, by both, without permission; then the folder `own` with it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from vllm.engine.arg_utils import EngineArgs

from dormouse_runtime.engines.transformers.model import Wanted, load


def outcome(call: Callable[[], object]) -> str:
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - whatever hostile files bring about
        return f"{type(error).__name__}: {error}"[:300]
    return "loaded"


def by_transformers(folder: Path, allowed: bool = False) -> str:
    return outcome(lambda: load(Wanted(folder, remote_code=allowed, kv_cache_bytes=2**24)))


def by_vllm(folder: Path, allowed: bool = False) -> str:
    """Everything before the weights: configuration, tokenizer, the model's class."""
    return outcome(
        lambda: EngineArgs(model=str(folder), trust_remote_code=allowed, enforce_eager=True).create_model_config()
    )


if __name__ == "__main__":
    root = Path(sys.argv[1])
    canaries = root / "canaries"
    found = {}
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path != canaries):
        found[folder.name] = [by_transformers(folder), by_vllm(folder)]
    silent = sorted(path.name for path in canaries.iterdir())
    allowed = [by_transformers(root / "own", allowed=True), by_vllm(root / "own", allowed=True)]
    heard = sorted(path.name for path in canaries.iterdir())
    sys.stdout.write(
        f"\nANSWERS {json.dumps({'found': found, 'silent': silent, 'allowed': allowed, 'heard': heard})}\n"
    )
