"""Runs in the engine's Python: the quantize Job's worker, killed at every step and starved of room, in forks.

`python killing.py FOLDER METHOD` prints what was found as JSON. torch is imported once; each try is a fork, of a
random model of one layer.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from dormouse_api.names import ENV_QUANTIZE_CONFIG
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.quantize import bnb, check, compressed, job, work
from dormouse_runtime.quantize.tensorfile import TensorFile

MOST = 2000
STEPS: tuple[tuple[Any, str], ...] = (
    (Path, "mkdir"), (Path, "rename"), (Path, "write_text"),
    (os, "fsync"), (shutil, "rmtree"), (shutil, "copyfile"), (TensorFile, "write"),
    (compressed, "write"), (check, "compressed"), (bnb, "write"), (bnb, "check"), (work, "tell"),
)  # fmt: skip
"""What a worker does to the volume, and the seams between its stages: before each is a moment to die."""


def forked(act: Callable[[], int], told: Path) -> int:
    """The wait status of `act` in a child; what it prints goes to `told`."""
    pid = os.fork()
    if pid == 0:
        out = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        try:
            os._exit(act())
        except BaseException as error:  # noqa: BLE001 - a fork must not go on into the parent's code
            os.write(2, repr(error).encode())
            os._exit(99)
    return os.waitpid(pid, 0)[1]


def dies_at(step: int) -> None:
    """SIGKILL this process at the `step`th moment."""
    passed = 0

    def moment() -> None:
        nonlocal passed
        passed += 1
        if passed == step:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(known: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **fields: Any) -> Any:
            moment()
            return known(*args, **fields)

        return call

    for owner, name in STEPS:
        setattr(owner, name, watched(getattr(owner, name)))


def killed(config: QuantizeConfig, told: Path) -> dict[str, Any]:
    """Kill at every moment in turn; after each the copy is whole or not there, and the next try is clean."""
    out = Path(config.out_dir)
    half: list[int] = []
    tried: set[tuple[tuple[str, int], ...]] = set()
    unclean: list[int] = []
    for step in range(1, MOST):

        def act(step: int = step) -> int:
            dies_at(step)
            return work.main()

        ended = forked(act, told)
        if out.exists() and job.done(config) is None:
            half.append(step)
        if not os.WIFSIGNALED(ended):
            return {"moments": step - 1, "states": len(tried), "half": half, "unclean": unclean, "last": ended}
        found = tuple(sorted((str(p), p.stat().st_size) for p in out.parent.rglob("*") if p.is_file()))
        if found in tried:
            continue  # the same that an earlier kill left: the next try found its way from there
        tried.add(found)
        again = forked(work.main, told)
        left = [path.name for path in out.parent.glob("*.partial")]
        if again or left or job.done(config) is None:
            unclean.append(step)
        shutil.rmtree(out, ignore_errors=True)
    return {"moments": MOST, "states": len(tried), "half": half, "unclean": unclean, "last": -1}


def starved(config: QuantizeConfig, told: Path, most: int) -> dict[str, Any]:
    """No file may be longer than `most` bytes: the kernel refuses the write that goes beyond, wherever it is."""

    def act() -> int:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        return work.main()

    ended = forked(act, told)
    out = Path(config.out_dir)
    left = [path.name for path in out.parent.iterdir() if path.name.startswith(out.name)]
    again = forked(work.main, told.with_name("again"))
    whole = job.done(config) is not None
    shutil.rmtree(out, ignore_errors=True)
    return {"ended": ended, "said": told.read_text()[-2000:], "left": left, "again": again, "whole": whole}


def model(folder: Path) -> Path:
    """A random Llama of 0.6 MB."""
    shape = LlamaConfig(
        vocab_size=512, hidden_size=128, intermediate_size=256, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2,
    )  # fmt: skip
    LlamaForCausalLM(shape).to(torch.bfloat16).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def main(folder: Path, method: str) -> None:
    torch.set_num_threads(1)  # threads do not live on in a fork
    setattr(os, "fsync", lambda _: None)  # noqa: B010 - what is killed here is a process, not the machine: a disk under load would take minutes
    told = folder / "told"
    config = QuantizeConfig(
        source="hf://a/b",
        commit="c",
        model_dir=str(model(folder / "source")),
        out_dir=str(folder / "copies" / f"c-{method}"),
        method=method,
        compare=False,
        cache_dir=str(folder),
    )
    (folder / "copies").mkdir()
    os.environ[ENV_QUANTIZE_CONFIG] = config.model_dump_json()
    found = {
        "starved": [starved(config, told, most) for most in (400, 100_000, 200_000)],
        "killed": killed(config, told),
    }
    sys.stdout.write(f"\nANSWERS {json.dumps(found)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
