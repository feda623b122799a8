"""A router that keeps in a folder, as a process to be killed: `python -m tests.router.files.process PORT FOLDER`."""

import asyncio
import os
import signal
import sys
from dataclasses import replace

import structlog
import uvloop

from bench.routing.cluster import MemoryCluster
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.startup import tune_gc
from dormouse_router.store import open_store


async def main(port: int, folder: str) -> None:
    places = {"database_url": f"sqlite:///{folder}/router.db", "files": f"file://{folder}/files"}
    settings = replace(Settings(), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0, **places)  # type: ignore[arg-type]
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_store(settings) as keeping:
        router = Router(MemoryCluster(), settings, keeping)
        tune_gc()
        await router.run(stop)


def on_demand(port: int, folder: str) -> None:
    """Another router for each line that comes, a fork that has imported everything; its process id is the answer."""
    from dormouse_router.store import sql as sql  # the slow part of a start

    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            uvloop.run(main(port, folder))
            os._exit(0)
        print(pid, flush=True)  # noqa: T201
        os.waitpid(pid, 0)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    if sys.argv[3:]:
        on_demand(int(sys.argv[1]), sys.argv[2])
    else:
        uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
