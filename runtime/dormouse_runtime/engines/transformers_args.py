"""The transformers engine's command line and environment. Pure: imports nothing of it."""

from __future__ import annotations

from pathlib import Path

from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.engines.base import Adapter, Command, marked_stage

MODULE = "dormouse_runtime.engines.transformers"


def adapter(config: RuntimeConfig, python: str, scratch: Path, cpus: float) -> Adapter:
    """The transformers engine as the supervisor sees it."""
    return Adapter(command=lambda attempt: command(config, attempt, python, scratch, cpus), stage_of=marked_stage)


def command(config: RuntimeConfig, attempt: Attempt, python: str, scratch: Path, cpus: float) -> Command:
    """The process that serves `attempt`; it reads the rest from DORMOUSE_RUNTIME, as the supervisor did."""
    return Command(
        argv=(python, "-P", "-m", MODULE, attempt.model_dir, attempt.quantization),
        env={
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "HF_HOME": str(scratch / "hf"),
            "HF_MODULES_CACHE": str(scratch / "hf" / "modules"),
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": str(max(1, int(cpus))),
            "PYTHONUNBUFFERED": "1",
        },
        preload=tuple(sorted(Path(attempt.model_dir).glob("*.safetensors"))) if config.device == "cpu" else (),
    )
