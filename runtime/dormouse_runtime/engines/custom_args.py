"""The custom engine's command line. Pure: the administrator's Python is imported by the engine's own process only."""

from __future__ import annotations

from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.engines.base import Adapter, Command, marked_stage

MODULE = "dormouse_runtime.engines.custom"
SCHEMA_PATH = "/schema"
FAILED = "CustomModelError"
"""Begins the last line of a process whose class could not be loaded: `supervisor.choose` knows it."""


def adapter(config: RuntimeConfig, python: str) -> Adapter:
    """The custom engine as the supervisor sees it. What the folder must hold is known to the class alone."""
    return Adapter(
        command=lambda attempt: command(attempt, python),
        stage_of=marked_stage,
        identity=lambda attempt: "\0".join([config.model_dump_json(), attempt.model_dump_json()]),
        needed=(),
        schema_path=SCHEMA_PATH,
    )


def command(attempt: Attempt, python: str) -> Command:
    """The process that serves `attempt`; it reads the rest from DORMOUSE_RUNTIME, as the supervisor did."""
    argv = (python, "-P", "-m", MODULE, attempt.model_dir)
    return Command(argv=argv, env={"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"})
