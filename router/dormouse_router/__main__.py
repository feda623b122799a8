"""`python3 -m dormouse_router`: settings from the environment, the API server, one router, until SIGTERM."""

import asyncio
import gc
import logging
import signal
import sys

import structlog
import uvloop

from dormouse_router.kube import Kube
from dormouse_router.recent import Recent
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.store import open_store


async def run(settings: Settings, recent: Recent) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Kube() as kube, open_store(settings) as keeping:
        router = Router(kube, settings, keeping, recent)
        tune_gc()
        structlog.get_logger().info("listening", host=settings.host, port=router.port, ops_port=router.ops_port)
        await router.run(stop)


def tune_gc() -> None:
    """What was made at the start stays for ever and need not be looked at; young garbage is mostly acyclic."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    recent = Recent()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            recent,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        settings = Settings.from_env()
    except ValueError as error:
        print(f"dormouse-router: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    uvloop.run(run(settings, recent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
