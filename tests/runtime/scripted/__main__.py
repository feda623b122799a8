"""The runtime's own `serve`, with scripted engines and short times. An attempt's folder is named after its part."""

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

TIMING = settings.Timing(
    ready_hold=3.0,
    settle=0.1,
    stop=0.5,
    health_every=0.05,
    # Long, where a test does not ask for less: an engine whose turn on a busy machine is late is not a wedged one.
    health_timeout=20.0,
    wedged=60.0,
    untold=60.0,
    poll_slow=0.05,
    poll_fast=0.02,
)


def main() -> int:
    cgroup = Path(os.environ["DORMOUSE_TEST_CGROUP"])
    timing = replace(TIMING, **json.loads(os.environ["DORMOUSE_TEST_TIMING"]))
    setup = replace(settings.from_environment(), timing=timing, cgroup=cgroup)

    def command(attempt: Attempt) -> Command:
        part = Path(attempt.model_dir).name
        module = "tests.runtime.scripted.engine"
        argv = (sys.executable, "-m", module, part, str(setup.config.serving_port))
        cache = Path(setup.config.cache_dir) / "scripted" / part
        weights = tuple(Path(attempt.model_dir).glob("*.safetensors"))
        return Command(argv, preload=weights, cache=cache, maker="scripted 1")

    adapter = Adapter(command=command, stage_of=marked_stage, identity=lambda attempt: attempt.model_dir)
    return asyncio.run(serve(setup, lambda _: dict.fromkeys(Engine, adapter)))


if __name__ == "__main__":
    sys.exit(main())
