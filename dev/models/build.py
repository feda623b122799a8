"""Builds the tiny models; runs inside the engine's environment: `python -m dev.models.build OUT [NAME ...]`."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch
import transformers

from dev.models.kinds import KINDS

ORGANISATION = "dormouse"
WORKERS = 2
THREADS = 1  # fixed, because another number adds up in another order and gives other weights; more is hardly faster


def build(out: Path, names: list[str]) -> None:
    """Write OUT/dormouse/NAME for each name, two at a time; raises when a trained model answers wrongly."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=_end_with_parent) as pool:
        running = [pool.submit(_one, name, out / ORGANISATION / name) for name in names]
        for done in as_completed(running):
            print(done.result(), flush=True)


def _end_with_parent() -> None:
    """Linux kills this process when its parent dies: an abandoned training would hold a core for half an hour."""
    set_death_signal = 1  # PR_SET_PDEATHSIG of linux/prctl.h
    ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGKILL)


def _one(name: str, directory: Path) -> str:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    started = time.monotonic()
    directory.mkdir(parents=True)
    said = KINDS[name](directory)
    files = [path for path in directory.rglob("*") if path.is_file()]
    for path in files:
        path.chmod(0o644)  # safetensors writes 0600, and a pod reads as another user
    megabytes = sum(path.stat().st_size for path in files) / 1e6
    return f"{name}: {said}, {megabytes:.1f} MB, {time.monotonic() - started:.1f} s"


if __name__ == "__main__":
    build(Path(sys.argv[1]), sys.argv[2:] or list(KINDS))
