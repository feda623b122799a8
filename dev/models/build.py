"""Builds the tiny models; runs inside the engine's environment: `python -m dev.models.build OUT [NAME ...]`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from dev.models.kinds import KINDS

ORGANISATION = "dormouse"
THREADS = 2  # fixed: another number adds up in another order and gives other weights


def build(out: Path, names: list[str]) -> None:
    """Write OUT/dormouse/NAME for each name; raises when a trained model answers wrongly."""
    torch.set_num_threads(THREADS)
    for name in names:
        started, directory = time.monotonic(), out / ORGANISATION / name
        directory.mkdir(parents=True)
        torch.manual_seed(0)
        print(f"{name} ...", flush=True)
        said = KINDS[name](directory)
        files = [path for path in directory.rglob("*") if path.is_file()]
        for path in files:
            path.chmod(0o644)  # safetensors writes 0600, and a pod reads as another user
        megabytes = sum(path.stat().st_size for path in files) / 1e6
        print(f"{name}: {said}, {megabytes:.1f} MB, {time.monotonic() - started:.1f} s", flush=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2:] or list(KINDS))
