"""A router as it is installed, but for its cluster, which is in memory and has one awake model.

`python -m tests.router.shared.process PORT ENGINE_PORT`, with the environment that a router reads.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace

import structlog
import uvloop

from bench.routing.bodies import MODEL
from bench.routing.cluster import MemoryCluster
from dormouse_router.access.opening import open_access
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.startup import tune_gc
from dormouse_router.store import open_counts, open_store


async def main(port: int, engine: int) -> None:
    settings = replace(Settings.from_env(os.environ), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    cluster = MemoryCluster()
    cluster.add_model(MODEL)
    cluster.set_endpoints(MODEL, [engine])
    async with (
        open_store(settings) as keeping,
        open_counts(settings.access.limits) as counts,
        open_access(settings.access, keeping.accounts, counts) as gate,
    ):
        router = Router(cluster, settings, keeping, gate=gate)
        tune_gc()
        await router.run(stop)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
