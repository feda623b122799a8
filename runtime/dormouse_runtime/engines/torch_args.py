"""What the command lines of our own engines on torch have in common. Pure: imports nothing of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dormouse_api.runtime import Attempt, RuntimeConfig


@dataclass(frozen=True)
class Host:
    """Where such an engine runs."""

    python: str
    scratch: Path
    cpus: float
    version: str
    """Of the library that serves."""


def identity(config: RuntimeConfig, attempt: Attempt, host: Host) -> str:
    """All that decides whether the engine comes to serve."""
    return "\0".join([host.version, config.model_dump_json(), attempt.model_dump_json()])


def environment(host: Host) -> dict[str, str]:
    """Nothing is fetched, nothing is written outside of the scratch folder, and no more threads than processors."""
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DIFFUSERS_OFFLINE": "1",
        "HF_HOME": str(host.scratch / "hf"),
        "HF_MODULES_CACHE": str(host.scratch / "hf" / "modules"),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": str(max(1, int(host.cpus))),
        "PYTHONUNBUFFERED": "1",
    }


def preload(config: RuntimeConfig, attempt: Attempt, pattern: str) -> tuple[Path, ...]:
    """Files worth reading ahead: on a CPU the weights are served from the page cache."""
    return tuple(sorted(Path(attempt.model_dir).glob(pattern))) if config.device == "cpu" else ()
