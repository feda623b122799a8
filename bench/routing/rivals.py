"""Routers of other projects, each in its own environment in the machine's cache and in its fastest fair configuration.

Both come from PyPI and are for the bench alone: neither is in the workspace's lock. Each gets one engine, so every
balancing policy chooses the same.
"""

import subprocess
from pathlib import Path

from bench.routing.bodies import MODEL
from bench.routing.processes import BenchError, free_port
from dev import cache, enginevenv
from dev.uv import UvError, program

VLLM_ROUTER = "vllm-router==0.1.17"
LITELLM = "litellm[proxy]==1.106.2"
LITELLM_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params:
      model: openai/{model}
      api_base: http://127.0.0.1:{engine}/v1
      api_key: none
litellm_settings:
  set_verbose: false
  json_logs: true
  num_retries: 0
  request_timeout: 600
router_settings:
  routing_strategy: simple-shuffle
general_settings:
  disable_error_logs: true
"""
LITELLM_ENV = (
    "LITELLM_MODE=PRODUCTION",
    "LITELLM_LOG=ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP=True",
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY=true",  # no target checks keys
)


def vllm_router(port: int, engine: int) -> list[str]:
    """Rust, one worker thread on one core. Round robin is its cheapest policy; its metrics stay on, retries and
    circuit breaker are off, and its limit of requests at once is far above the bench's."""
    venv = _environment(VLLM_ROUTER)
    arguments = {
        "host": "127.0.0.1",
        "port": port,
        "worker-urls": f"http://127.0.0.1:{engine}",
        "policy": "round_robin",
        "prometheus-port": free_port(),
        "prometheus-host": "127.0.0.1",
        "log-level": "error",
    }
    flags = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
    return [str(venv / "bin" / "vllm-router"), *flags, "--disable-retries", "--disable-circuit-breaker"]


def litellm(folder: Path, port: int, engine: int) -> list[str]:
    """One worker, since it has one core, with the settings its documentation gives for production (no debugging, error
    logs only), and no database, key or callback."""
    venv = _environment(LITELLM)
    config = folder / f"litellm-{port}.yaml"
    config.write_text(LITELLM_CONFIG.format(model=MODEL, engine=engine))
    command = [str(venv / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    return ["env", *LITELLM_ENV, *command, "--num_workers", "1"]


def _environment(requirement: str) -> Path:
    """The virtual environment with this package, made once per machine."""
    base = enginevenv.interpreter()
    key = cache.key("bench", base, requirement)
    return cache.publish("bench", key, lambda venv: _install(venv, base, requirement), what=requirement)


def _install(venv: Path, base: str, requirement: str) -> None:
    try:
        uv = str(program())
    except UvError as error:
        raise BenchError(f"{requirement} cannot be installed: {error}") from error
    python = str(venv / "bin" / "python")
    for step in (
        ["venv", "--quiet", "--clear", "--relocatable", "--python", base, str(venv)],
        ["pip", "install", "--quiet", "--compile-bytecode", "--python", python, requirement],
    ):
        done = subprocess.run([uv, *step], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"{requirement} could not be installed from PyPI:\n{done.stderr[-2000:]}")
