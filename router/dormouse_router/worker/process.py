"""A worker's whole life: settings from the environment, the store, one worker, until SIGTERM.

`python3 -m dormouse_router.worker` is its keeper, which begins it again; `python3 -m dormouse_router.worker.process` is
the worker alone.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator

import structlog
import uvloop

from dormouse_router.batch.duties import Serves, Taking
from dormouse_router.recent import Recent, concealed
from dormouse_router.settings import Settings
from dormouse_router.startup import one_arena, set_up_log, tune_gc
from dormouse_router.store import open_store
from dormouse_router.worker.crew import Crew
from dormouse_router.worker.keeper import Nest
from dormouse_router.worker.ops import Ops
from dormouse_router.worker.settings import WorkerSettings

log = structlog.get_logger()
BEAT_SECONDS = 1.0


async def run(settings: Settings, rules: WorkerSettings, nest: Nest | None = None) -> int:
    """Work until SIGTERM or SIGINT, or until the keeper is gone; the exit status."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    holder = f"{settings.pod_name.lower()}/{secrets.token_hex(16)}"
    async with open_store(settings) as keeping:
        if keeping.work is None:
            print("dormouse-worker: DORMOUSE_DATABASE_URL must be a database that routers see, too", file=sys.stderr)  # noqa: T201
            return 2
        crew = Crew(keeping.work, holder, rules, lambda serves: taking(settings, serves))
        crew.metrics.restarts = 0 if nest is None else nest.restarts
        async with _serving(Ops(crew, (settings.host, rules.ops_port)) if nest is None else _lent(crew, nest)):
            tune_gc()
            log.info("working", router=rules.router_url, ops_port=rules.ops_port)
            async with _told(nest, stop):
                await crew.run(stop)
    return 0


def _lent(crew: Crew, nest: Nest) -> Ops | None:
    return None if nest.ops is None else Ops(crew, nest.ops)


@contextlib.asynccontextmanager
async def _serving(ops: Ops | None) -> AsyncIterator[None]:
    if ops is None:
        yield
        return
    await ops.start()
    try:
        yield
    finally:
        await ops.stop()


@contextlib.asynccontextmanager
async def _told(nest: Nest | None, stop: asyncio.Event) -> AsyncIterator[None]:
    """The keeper, if there is one, hears that we live."""
    beating = None if nest is None else asyncio.create_task(_beat(nest.beat, stop))
    try:
        yield
    finally:
        if beating is not None:
            beating.cancel()


async def _beat(told: int, stop: asyncio.Event) -> None:
    """Tell the keeper once a second that this loop turns."""
    try:
        while True:
            with contextlib.suppress(BlockingIOError):
                os.write(told, b".")
            await asyncio.sleep(BEAT_SECONDS)
    except BrokenPipeError:
        log.error("the keeper of this worker is gone: it ends, too")
        stop.set()


def taking(settings: Settings, serves: Serves) -> Taking:
    """What of a batch's file is taken, by the settings that the router has too."""
    return Taking(serves, settings.batch_mixed, settings.batch_scores, settings.batch_lines)


def main(nest: Nest | None = None) -> int:
    one_arena()
    set_up_log(Recent())
    try:
        settings, rules = Settings.from_env(), WorkerSettings.from_env()
    except ValueError as error:
        print(f"dormouse-worker: {concealed(str(error))}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    return uvloop.run(run(settings, rules, nest))


if __name__ == "__main__":
    sys.exit(main())
