"""The runtime image's entry: `serve` runs the model's engine, `quantize` makes a smaller copy of its weights.

The composition root: reads the settings once and wires the parts. Heavy libraries are imported by child processes
only, so that port 8001 answers a fraction of a second after the pod's start.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
import time

from dormouse_runtime import engines, settings
from dormouse_runtime.quantize import job
from dormouse_runtime.supervisor import admin, http, nvml
from dormouse_runtime.supervisor.gpuwatch import GpuWatch
from dormouse_runtime.supervisor.run import Engines, Supervisor
from dormouse_runtime.supervisor.timeline import Timeline


def main() -> int:
    """Run the command of this pod; the exit code is the container's."""
    parser = argparse.ArgumentParser(prog="dormouse_runtime", description=__doc__)
    parser.add_argument("command", choices=["serve", "quantize"])
    command = parser.parse_args().command
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        if command == "quantize":
            return asyncio.run(job.quantize(job.from_environment()))
        setup = settings.from_environment()
        return asyncio.run(serve(setup, engines.adapters))
    except settings.SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the pod's log
        return 2


async def serve(setup: settings.Settings, adapters: Engines) -> int:
    """Listen on the admin port first, then run the supervisor to its end."""
    timeline = Timeline(setup.config.model, setup.config.commit)
    supervisor = Supervisor(setup, adapters, timeline)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.stopping.set)
    watch = GpuWatch(nvml.reader() if setup.config.device == "cuda" else None, setup.config.planned_bytes, time.time)
    server = await http.serve(setup.host, setup.config.admin_port, admin.routes(setup, supervisor, watch))
    async with server:
        watching = asyncio.create_task(watch.run())
        try:
            return await supervisor.run()
        finally:
            watching.cancel()
