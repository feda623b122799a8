"""vLLM's command line, environment and log lines. Pure: knows vLLM's flags, imports nothing of it.

Why eager on a CPU: torch.compile adds about 20 s and a C++ compiler to every cold wake and pays only for tiny
models, whose cost is Python overhead; with an explicit KV size, eager also skips vLLM's warm-up (docs/performance.md).
On CUDA, vLLM compiles and keeps the result on the cache volume.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dormouse_api.adapters import MOST_ADAPTERS, LoraConfig
from dormouse_api.runtime import Attempt, RuntimeConfig, Stage
from dormouse_api.speculative import Method, SpeculativeConfig
from dormouse_api.tracing import PROTOCOL, TRACES_PROTOCOL
from dormouse_runtime.engines.base import Adapter, Command, marked_stage

MODULE = "dormouse_runtime.engines.vllm"
ENV_FORK = "DORMOUSE_FORK"
GUARD = "dormouse_runtime.engines.guard.LocalOnly"
CHAT_TEMPLATE = "chat_template.jinja"


@dataclass(frozen=True)
class Host:
    """What the command depends on beside the model: where it runs."""

    python: str
    address: str
    scratch: Path
    cpus: float
    version: str
    """vLLM's version: part of the cache's key, so an upgrade never reads an older engine's artefacts."""
    processor: str = platform.machine()
    preload_libraries: tuple[str, ...] = ()
    """Shared objects for LD_PRELOAD (CPU)."""
    traces: str = ""
    """The whole address of an OTLP/HTTP receiver for the engine's spans; empty: it makes none."""


def adapter(config: RuntimeConfig, host: Host) -> Adapter:
    """vLLM as the supervisor sees it."""
    return Adapter(
        command=lambda attempt: command(config, attempt, host),
        stage_of=stage_of,
        identity=lambda attempt: cache_key(config, host, arguments(config, attempt, host, host.scratch)),
    )


def command(config: RuntimeConfig, attempt: Attempt, host: Host) -> Command:
    """The process that serves `attempt` with vLLM."""
    template = host.scratch / CHAT_TEMPLATE
    flags = arguments(config, attempt, host, template)
    return Command(
        argv=(host.python, "-P", "-m", MODULE, *flags),
        env=environment(config, host, flags),
        files={template: config.chat_template} if config.chat_template else {},
        preload=tuple(sorted(Path(attempt.model_dir).glob("*.safetensors"))),
        cache=cache_folder(config, host, flags),
        maker=f"vllm {host.version}",
    )


def arguments(config: RuntimeConfig, attempt: Attempt, host: Host, template: Path) -> tuple[str, ...]:
    """vLLM's flags. The user's own come last, so they win; the API server has checked them against the allowed list."""
    flags = [
        f"--model={attempt.model_dir}",
        f"--served-model-name={config.model}",
        f"--host={host.address}",
        f"--port={config.serving_port}",
        f"--dtype={config.dtype}",
        f"--max-model-len={config.max_model_len or 'auto'}",
        f"--max-num-seqs={config.max_num_seqs}",
        # Never left out: unset, vLLM takes nearly all the memory there is and refuses to start where it is not free.
        f"--kv-cache-memory-bytes={config.kv_cache_bytes}",
        f"--tensor-parallel-size={config.devices}",
        "--enable-server-load-tracking",
        "--scheduling-policy=priority",  # batches yield; where nobody says a priority it is first come, first served
        "--enable-prompt-tokens-details",  # how much of a prompt the cache gave, which callers are told
        "--disable-uvicorn-access-log",
    ]
    if config.task == "embed":
        flags.append("--runner=pooling")
    if config.tool_call_parser:
        flags += ["--enable-auto-tool-choice", f"--tool-call-parser={config.tool_call_parser}"]
    if config.reasoning_parser:
        flags.append(f"--reasoning-parser={config.reasoning_parser}")
    if config.chat_template:
        flags.append(f"--chat-template={template}")
    if config.remote_code:
        flags.append("--trust-remote-code")
    if config.speculative is not None:
        flags.append(f"--speculative-config={json.dumps(_speculative(config.speculative), sort_keys=True)}")
    if config.lora is not None:
        flags += _lora(config.lora)
    if host.traces:
        flags.append(f"--otlp-traces-endpoint={host.traces}")
    if config.device == "cpu":
        flags.append("--enforce-eager")
        if config.devices == 1:
            flags.append("--distributed-executor-backend=uni")
    return (*flags, *config.args)


def _speculative(told: SpeculativeConfig) -> dict[str, object]:
    """vLLM's own words for it."""
    if told.method is Method.NGRAM:
        looks = {"prompt_lookup_min": told.prompt_lookup_min, "prompt_lookup_max": told.prompt_lookup_max}
        return {"method": "ngram", "num_speculative_tokens": told.tokens, **looks}
    return {"method": "draft_model", "model": told.draft_dir, "num_speculative_tokens": told.tokens}


def _lora(lora: LoraConfig) -> list[str]:
    """Room for adapters, which come later, over the guarded routes. All that a model may have stay in main memory."""
    return [
        "--enable-lora",
        f"--max-lora-rank={lora.max_rank}",
        f"--max-loras={lora.max_active}",
        f"--max-cpu-loras={MOST_ADAPTERS}",
        f"--middleware={GUARD}",
    ]


def environment(config: RuntimeConfig, host: Host, flags: tuple[str, ...]) -> dict[str, str]:
    """vLLM's environment: no network, no statistics, caches on the volume, threads by the pod's processors."""
    cache = cache_folder(config, host, flags)
    env = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HOME": str(host.scratch / "hf"),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_CONFIG_ROOT": str(host.scratch / "vllm"),
        "VLLM_CACHE_ROOT": str(cache),
        "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
        "TRITON_CACHE_DIR": str(cache / "triton"),
        # vLLM looks for n-grams with one thread and sets that anew for each token, which takes 0.1 s where numba has
        # made more threads beside the model's own, and nothing where there is one.
        "NUMBA_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if config.lora is not None:
        env["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] = "True"
    if host.traces:
        env[TRACES_PROTOCOL] = PROTOCOL  # vLLM's own choice would be gRPC
    return env | (_cpu_environment(config, host) if config.device == "cpu" else {})


def _cpu_environment(config: RuntimeConfig, host: Host) -> dict[str, str]:
    """Threads are counted, not pinned: on a shared node two pods would pin themselves to the same cores."""
    env = {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(worker_threads(host.cpus)),
        # Eager does not keep vLLM from compiling its helpers: the first call for logprobs would look for a C++
        # compiler, which the image has not, and end the engine.
        "TORCH_COMPILE_DISABLE": "1",
        # Read by our launcher, engines/vllm.py. Workers of more than one device need OpenMP settings of their own.
        ENV_FORK: "1" if config.devices == 1 else "0",
    }
    if config.devices == 1:
        env["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # with the uni executor: worker and scheduler in one process
    if host.preload_libraries:
        env["LD_PRELOAD"] = ":".join(host.preload_libraries)
    return env


def worker_threads(cpus: float) -> int:
    """OpenMP threads of the model: one processor is left to the API server and the scheduler."""
    return max(1, int(cpus) - 1)


def cache_folder(config: RuntimeConfig, host: Host, flags: tuple[str, ...]) -> Path:
    """Where this start's compiled code lies on the volume."""
    return Path(config.cache_dir) / "vllm" / cache_key(config, host, flags)


_UNCOMPILED = ("--port=", "--host=", "--served-model-name=", "--scheduling-policy=", "--otlp-traces-endpoint=")
"""Flags that change nothing of what is compiled."""


def cache_key(config: RuntimeConfig, host: Host, flags: tuple[str, ...]) -> str:
    """Names a cache that only this engine version, weights, flags and processor may read."""
    kept = [flag for flag in flags if not flag.startswith(_UNCOMPILED)]
    text = "\0".join([host.version, config.commit, config.device, host.processor, *kept])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


LINES: Mapping[str, Stage] = {
    "Starting to load model": Stage.LOADING,
    "Initializing a V1 LLM engine": Stage.LOADING,
    "torch.compile takes": Stage.COMPILING,
    "Compiling a graph": Stage.COMPILING,
    "Dynamo bytecode transform": Stage.COMPILING,
    "Capturing CUDA graph": Stage.WARMING,
    "Warming up model": Stage.WARMING,
    "KV cache size": Stage.WARMING,
    "Starting vLLM server": Stage.WARMING,
}
"""What vLLM logs when it enters a stage. A version that words them otherwise loses stages, never readiness."""


def stage_of(line: str) -> Stage | None:
    """The stage a log line speaks of."""
    return marked_stage(line) or next((stage for words, stage in LINES.items() if words in line), None)
