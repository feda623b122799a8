"""Starts vLLM's own OpenAI server: the only module that imports vLLM.

On a CPU most of a start is Python importing torch and vLLM, once per process (three processes, one after the other,
about 6 s each). Here it is imported once, with the garbage collector off, and the engine's process is forked from the
imported one. On CUDA vLLM chooses its own start method: a CUDA context does not survive a fork.
Run as `python -m dormouse_runtime.engines.vllm <vLLM's flags>`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

from dormouse_api.runtime import Stage
from dormouse_runtime.engines.base import announce
from dormouse_runtime.engines.vllm_args import ENV_FORK


def main() -> None:
    """Import vLLM as cheaply as it goes, then hand over to it until the process ends."""
    announce(Stage.IMPORTING)
    fork = os.environ.pop(ENV_FORK, "0") == "1"
    # Importing makes a million objects that all stay: collecting among them costs 1.4 of 6.4 s.
    gc.disable()
    if fork:
        try:
            _fork_workers()
        except (ImportError, AttributeError) as error:
            # Another vLLM, built otherwise: it starts its processes its own way, only slower.
            print(f"[dormouse] this vLLM starts without forking: {error!r}", flush=True)  # noqa: T201 - the log
            fork = False
    from vllm.entrypoints.launchers.api_server import entry

    if fork:
        _import_model(sys.argv[1:])
    gc.freeze()  # out of the collector's sight for good, and never copied by a fork for a mark bit
    gc.enable()
    announce(Stage.LOADING)
    entry.main()


def _fork_workers() -> None:
    """Let vLLM fork its engine process. The CPU platform insists on spawn, in its last word on the configuration."""
    import torch
    import vllm.v1.engine.core
    import vllm.v1.executor.uniproc_executor
    import vllm.v1.worker.cpu_worker  # noqa: F401 - what the forked process would import by itself
    from vllm.platforms.cpu import CpuPlatform

    threads = torch.get_num_threads()
    # libgomp's thread pool does not survive a fork: a parent that ran a parallel region leaves its child waiting for
    # threads that are gone. So the parent stays single-threaded and the child takes the pod's full number.
    torch.set_num_threads(1)
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(threads))
    original = CpuPlatform.check_and_update_config.__func__

    def check_and_update_config(cls: Any, vllm_config: Any) -> None:
        original(cls, vllm_config)
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"

    CpuPlatform.check_and_update_config = classmethod(check_and_update_config)


def _import_model(flags: list[str]) -> None:
    """Import the model's class here: otherwise vLLM starts one more Python to look at it, 8 s on a first start."""
    from vllm import ModelRegistry

    folder = next((flag.split("=", 1)[1] for flag in flags if flag.startswith("--model=")), None)
    config = Path(folder or "", "config.json")
    if not config.is_file():
        return  # vLLM says so itself, better
    for name in json.loads(config.read_text()).get("architectures") or ():
        if known := ModelRegistry.models.get(name):
            ModelRegistry.register_model(name, known.load_model_cls())


if __name__ == "__main__":
    main()
