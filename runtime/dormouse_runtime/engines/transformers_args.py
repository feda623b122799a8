"""The transformers engine's command line and environment. Pure: imports nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.engines.base import Adapter, Command, marked_stage

MODULE = "dormouse_runtime.engines.transformers"


@dataclass(frozen=True)
class Host:
    """Where it runs."""

    python: str
    scratch: Path
    cpus: float
    version: str
    """transformers' version."""


def adapter(config: RuntimeConfig, host: Host) -> Adapter:
    """The transformers engine as the supervisor sees it."""
    return Adapter(
        command=lambda attempt: command(config, attempt, host),
        stage_of=marked_stage,
        identity=lambda attempt: "\0".join([host.version, config.model_dump_json(), attempt.model_dump_json()]),
    )


def command(config: RuntimeConfig, attempt: Attempt, host: Host) -> Command:
    """The process that serves `attempt`; it reads the rest from DORMOUSE_RUNTIME, as the supervisor did."""
    return Command(
        argv=(host.python, "-P", "-m", MODULE, attempt.model_dir, attempt.quantization),
        env={
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HOME": str(host.scratch / "hf"),
            "HF_MODULES_CACHE": str(host.scratch / "hf" / "modules"),
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": str(max(1, int(host.cpus))),
            "PYTHONUNBUFFERED": "1",
        },
        preload=tuple(sorted(Path(attempt.model_dir).glob("*.safetensors"))) if config.device == "cpu" else (),
    )
