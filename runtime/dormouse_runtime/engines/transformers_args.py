"""The transformers engine's command line. Pure: imports nothing of it."""

from __future__ import annotations

from dormouse_api.runtime import Attempt, RuntimeConfig
from dormouse_runtime.engines import torch_args
from dormouse_runtime.engines.base import Adapter, Command, marked_stage
from dormouse_runtime.engines.torch_args import Host

MODULE = "dormouse_runtime.engines.transformers"


def adapter(config: RuntimeConfig, host: Host) -> Adapter:
    """The transformers engine as the supervisor sees it."""
    return Adapter(
        command=lambda attempt: command(config, attempt, host),
        stage_of=marked_stage,
        identity=lambda attempt: torch_args.identity(config, attempt, host),
    )


def command(config: RuntimeConfig, attempt: Attempt, host: Host) -> Command:
    """The process that serves `attempt`; it reads the rest from DORMOUSE_RUNTIME, as the supervisor did."""
    return Command(
        argv=(host.python, "-P", "-m", MODULE, attempt.model_dir, attempt.quantization),
        env=torch_args.environment(host),
        preload=torch_args.preload(config, attempt, "*.safetensors"),
    )
