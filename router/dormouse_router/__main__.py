"""`python3 -m dormouse_router`: settings from the environment, the API server, one router, until SIGTERM."""

import asyncio
import signal
import sys
from typing import NoReturn

import structlog
import uvloop

from dormouse_api import ending
from dormouse_router.access.opening import open_access
from dormouse_router.kube import Kube
from dormouse_router.recent import Recent, concealed
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.startup import set_up_log, tune_gc
from dormouse_router.store import open_counts, open_store
from dormouse_router.tracing.opening import open_tracing


async def run(settings: Settings, recent: Recent) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with (
        Kube() as kube,
        open_store(settings) as keeping,
        open_counts(settings.access.limits) as counts,
        open_access(settings.access, keeping.accounts, counts, kube.review) as gate,
        open_tracing(settings.tracing) as tracing,
    ):
        router = Router(kube, settings, keeping, recent, gate, tracing)
        tune_gc()
        structlog.get_logger().info("listening", host=settings.host, port=router.port, ops_port=router.ops_port)
        await router.run(stop)


def main() -> NoReturn:
    recent = Recent()
    set_up_log(recent)
    try:
        settings = Settings.from_env()
    except ValueError as error:
        print(f"dormouse-router: {concealed(str(error))}", file=sys.stderr)  # noqa: T201 - there is no log yet
        sys.exit(2)
    ending.run(run(settings, recent), uvloop.new_event_loop)


if __name__ == "__main__":
    main()
