"""Pid 1 of the quantize Job: is it done already, run the worker, tell progress, leave the Outcome.

Imports nothing heavy. The answer goes into the termination message; exit 0, 42 (a retry will not help) or 1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.conditions import PERMANENT, Reason
from dormouse_api.results import EXIT_PERMANENT, Failure, Outcome, Progress, QuantizeResult
from dormouse_api.runtime import QuantizeConfig
from dormouse_runtime.engines.base import Command
from dormouse_runtime.pull import marker
from dormouse_runtime.pull.report import Report
from dormouse_runtime.quantize.progress import FAILURE, PROGRESS, RESULT
from dormouse_runtime.settings import SettingsError, cpus
from dormouse_runtime.supervisor import choose, http
from dormouse_runtime.supervisor.child import Child, on_standard_output
from dormouse_runtime.supervisor.http import Answer, Route
from dormouse_runtime.supervisor.log import EngineLog
from dormouse_runtime.supervisor.reap import Reaper

WORKER = "dormouse_runtime.quantize.work"
ENDED = PERMANENT | {Reason.QUANTIZATION_FAILED}
STOP_SECONDS = 5.0


@dataclass(frozen=True)
class Settings:
    """What this Job is told."""

    config: QuantizeConfig
    host: str = "0.0.0.0"
    termination_log: Path = Path(names.TERMINATION_LOG)
    python: str = sys.executable
    worker: str = WORKER
    cpus: float = 1.0


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings of this pod. SettingsError where DORMOUSE_QUANTIZE is missing or not what it should be."""
    try:
        config = QuantizeConfig.model_validate_json(environ.get(names.ENV_QUANTIZE_CONFIG, ""))
    except ValidationError as error:
        raise SettingsError(
            f"{names.ENV_QUANTIZE_CONFIG} must hold the JSON of a QuantizeConfig, which the operator writes: {error}"
        ) from None
    return Settings(
        config=config,
        host=environ.get("DORMOUSE_HOST", "0.0.0.0"),
        termination_log=Path(environ.get("DORMOUSE_TERMINATION_LOG", names.TERMINATION_LOG)),
        cpus=cpus(),
    )


def done(config: QuantizeConfig) -> QuantizeResult | None:
    """The copy that is there already, whole and of this commit and method."""
    folder = Path(config.out_dir)
    found = marker.read(folder)
    if found is None or (found.commit, found.quantization) != (config.commit, config.method):
        return None
    if not marker.whole(folder, found):
        return None
    size = sum(file.size for file in found.files)
    known = found.made or QuantizeResult(directory=folder.name, method=config.method, bytes=size, seconds=0.0)
    return known.model_copy(update={"directory": folder.name, "seconds": 0.0})


class Job:
    """One run."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._answer: Outcome | None = None
        self._log = EngineLog(self._hear)
        self._echo = on_standard_output()
        self.progress = Progress(stage="starting", bytes=0, total=0, bytes_per_second=0)
        self.stopping = asyncio.Event()

    async def run(self) -> int:
        """The exit code; the Outcome is written."""
        report = Report(self._settings.termination_log)
        if finished := done(self._settings.config):
            report.write(Outcome(quantize=finished))
            return 0
        report.interrupted("the quantize pod was stopped before it was done; the next one starts anew")
        routes: dict[str, Route] = {"/progress": self._tell_progress, "/livez": _alive}
        async with await http.serve(self._settings.host, self._settings.config.admin_port, routes):
            outcome = await self._work()
        if outcome is None:
            return 1
        report.write(outcome)
        if outcome.failure is None:
            return 0
        return EXIT_PERMANENT if outcome.failure.reason in ENDED else 1

    async def _work(self) -> Outcome | None:
        """None where the pod was stopped."""
        reaper = Reaper()
        reaper.install()
        began = time.monotonic()
        child = await Child.start(self._command(), reaper, self._log)
        stopping = asyncio.create_task(self.stopping.wait())
        events: list[asyncio.Future[object]] = [child.exited, stopping]  # type: ignore[list-item]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            await child.stop(STOP_SECONDS)
            return None
        stopping.cancel()
        await child.kill()
        if self._answer is not None:
            return self._answer
        ending = choose.Ending(child.exited.result(), time.monotonic() - began, tuple(self._log.lines))
        why = choose.cause(ending)
        return Outcome(failure=Failure(reason=why.reason, message=why.message))

    def _command(self) -> Command:
        cache = Path(self._settings.config.cache_dir)
        env = {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": str(max(1, int(self._settings.cpus))),
            # Threads that spin while they wait would take from the pods that serve, and from this one's own quota.
            "OMP_WAIT_POLICY": "PASSIVE",
            "PYTHONUNBUFFERED": "1",
            "HF_HOME": str(cache / "hf"),
        }
        return Command((self._settings.python, "-P", "-m", self._settings.worker), env)

    def _hear(self, line: str) -> None:
        if line.startswith(PROGRESS):
            self.progress = Progress.model_validate_json(line.removeprefix(PROGRESS))
        elif line.startswith(RESULT):
            self._answer = Outcome(quantize=QuantizeResult.model_validate_json(line.removeprefix(RESULT)))
        elif line.startswith(FAILURE):
            self._answer = Outcome(failure=Failure.model_validate_json(line.removeprefix(FAILURE)))
        else:
            self._echo(line)

    async def _tell_progress(self) -> Answer:
        return http.json_answer(self.progress.model_dump_json(exclude_none=True))


async def _alive() -> Answer:
    return http.text(200, "alive")


async def quantize(settings: Settings) -> int:
    """Run the Job until it is done or SIGTERM comes."""
    job = Job(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, job.stopping.set)
    return await job.run()
