"""The runtime's settings: what the operator tells this pod, and the timings of the supervisor.

Read once from the environment in `__main__` and handed down; nothing else in the supervisor reads the environment.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.runtime import RuntimeConfig
from dormouse_api.tracing import TRACES_ENDPOINT


class SettingsError(Exception):
    """The environment does not say what to serve; the message names the variable and what it must hold."""


@dataclass(frozen=True)
class Timing:
    """Seconds. Tests shorten them; a pod runs with the defaults."""

    ready_hold: float = 25.0
    """How long /readyz holds a probe while the engine starts; the probe's own timeout must be longer."""
    settle: float = 1.0
    """After SIGTERM requests may still arrive for so long: EndpointSlices need a moment to reach every router."""
    untold: float = 30.0
    """An engine that does not say for so long what it is answering is not waited for any longer."""
    stop: float = 10.0
    """From SIGTERM to SIGKILL of an engine that has nothing left to answer."""
    health_every: float = 5.0
    health_timeout: float = 10.0
    """One health answer later than this makes the pod unready; the next good one makes it ready again."""
    wedged: float = 120.0
    """An engine without a good health answer for so long is killed and started again."""
    poll_slow: float = 0.2
    poll_fast: float = 0.05
    """Readiness is asked for slowly while the engine imports, fast once it has loaded."""


@dataclass(frozen=True)
class Settings:
    """Everything the supervisor knows from outside."""

    config: RuntimeConfig
    host: str = "0.0.0.0"
    termination_log: Path = Path(names.TERMINATION_LOG)
    scratch: Path = Path("/tmp/dormouse")  # noqa: S108 - the pod's own emptyDir; the root is read-only
    python: str = sys.executable
    cgroup: Path = Path("/sys/fs/cgroup")
    cpus: float = 1.0
    memory_limit: int | None = None
    """Bytes this container may use; None: no limit."""
    timing: Timing = Timing()
    traces: str = ""
    """Where the engine's spans go: the whole address of an OTLP/HTTP receiver; empty: it makes none."""


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of this pod. Raises SettingsError where DORMOUSE_RUNTIME is missing or not what it should be."""
    text = environ.get(names.ENV_RUNTIME_CONFIG, "")
    try:
        config = RuntimeConfig.model_validate_json(text)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors()[:4])
        raise SettingsError(
            f"{names.ENV_RUNTIME_CONFIG} must hold the JSON of a RuntimeConfig, which the operator writes ({fields})"
        ) from None
    return Settings(
        config=config,
        host=environ.get("DORMOUSE_HOST", "0.0.0.0"),
        termination_log=Path(environ.get("DORMOUSE_TERMINATION_LOG", names.TERMINATION_LOG)),
        scratch=Path(environ.get("TMPDIR", "/tmp")) / "dormouse",  # noqa: S108 - the pod's own emptyDir
        cpus=cpus(),
        memory_limit=memory_limit(),
        traces=environ.get(TRACES_ENDPOINT, ""),
    )


def cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Processors this pod may use: its cgroup's quota, else its affinity. Fractions are a quota's."""
    allowed = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, int(quota) / int(period))


def memory_limit(cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes the cgroup of this container may use, if it is bounded."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() and int(text) < 2**60 else None  # version 1 says a huge number for none
    return None
