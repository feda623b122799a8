"""The runtime's `serve` without some of what makes its starts short: run by `bench.techniques`, in the engine's Python.

BENCH_WITHOUT names what is left out, separated by commas (`WITHOUT`); all else is the product's.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt
from dormouse_runtime import engines, settings
from dormouse_runtime.engines.base import Adapter, Command
from dormouse_runtime.engines.vllm_args import ENV_FORK, MODULE
from dormouse_runtime.entry import serve

STOCK = "vllm.entrypoints.openai.api_server"


def _without_bytecode(command: Command) -> Command:
    nowhere = {"PYTHONPYCACHEPREFIX": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}
    return replace(command, env={**command.env, **nowhere})


def _without_eager(command: Command) -> Command:
    env = {name: value for name, value in command.env.items() if name != "TORCH_COMPILE_DISABLE"}
    return replace(command, argv=tuple(flag for flag in command.argv if flag != "--enforce-eager"), env=env)


def _without_launcher(command: Command) -> Command:
    argv = tuple(STOCK if word == MODULE else word for word in command.argv)
    return replace(command, argv=argv, env={**command.env, ENV_FORK: "0"})


def _without_uni(command: Command) -> Command:
    argv = tuple(flag for flag in command.argv if not flag.startswith("--distributed-executor-backend"))
    return replace(command, argv=argv, env={**command.env, "VLLM_ENABLE_V1_MULTIPROCESSING": "1"})


def _without_preload(command: Command) -> Command:
    return replace(command, preload=())


WITHOUT: Mapping[str, Callable[[Command], Command]] = {
    "bytecode": _without_bytecode,
    "eager": _without_eager,
    "launcher": _without_launcher,
    "uni": _without_uni,
    "preload": _without_preload,
}


def main() -> int:
    left_out = [WITHOUT[name] for name in os.environ.get("BENCH_WITHOUT", "").split(",") if name in WITHOUT]

    def adapters(setup: settings.Settings) -> Mapping[Engine, Adapter]:
        found = dict(engines.adapters(setup))
        adapter = found[Engine.VLLM]

        def command(attempt: Attempt) -> Command:
            made = adapter.command(attempt)
            for change in left_out:
                made = change(made)
            return made

        found[Engine.VLLM] = replace(adapter, command=command)
        return found

    return asyncio.run(serve(settings.from_environment(), adapters))


if __name__ == "__main__":
    sys.exit(main())
