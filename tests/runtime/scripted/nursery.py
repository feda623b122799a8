"""Pods by the hundred: the runtime's own `serve`, forked from a process that has imported it, with quick engines.

`python -m tests.runtime.scripted.nursery`: each line of standard input is a JSON object of environment variables; the
pid of the pod that they make, and when it has ended its exit code, are lines of standard output. An attempt's folder
is named after its engine's part (`quick.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt
from dormouse_runtime import settings
from dormouse_runtime.engines.base import Adapter, Command, marked_stage
from dormouse_runtime.entry import serve

TIMING = settings.Timing(settle=0.0, stop=30.0, health_every=60.0, poll_slow=0.02, poll_fast=0.005)
STUBBORN_STOP = 0.1
"""Seconds until an engine that ignores SIGTERM is killed. Of any other it would kill one that is just tidying up."""
QUICK = Path(__file__).with_name("quick.py")


def main() -> None:
    for line in sys.stdin:
        pod = os.fork()
        if pod == 0:
            os.environ.update(json.loads(line))
            sys.exit(live())
        say(pod)
        say(os.waitstatus_to_exitcode(os.waitpid(pod, 0)[1]))


def live() -> int:
    """One pod's life; its exit code."""
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    os.dup2(silence, 1)
    told = settings.from_environment()
    stubborn = Path(told.config.attempts[0].model_dir).name == "stubborn"
    setup = replace(told, timing=replace(TIMING, stop=STUBBORN_STOP) if stubborn else TIMING)

    def command(attempt: Attempt) -> Command:
        folder = Path(attempt.model_dir)
        cache = Path(setup.config.cache_dir) / "quick" / folder.name
        said = (folder.name, str(setup.config.serving_port), str(cache), os.environ["QUICK_TAG"])
        argv = (sys.executable, "-I", "-S", str(QUICK), *said)
        return Command(argv, preload=(folder / "weights",), cache=cache, maker="quick 1")

    adapter = Adapter(command=command, stage_of=marked_stage, identity=lambda attempt: attempt.model_dir)
    return asyncio.run(serve(setup, lambda _: dict.fromkeys(Engine, adapter)))


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
