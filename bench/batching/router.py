"""A router on a cluster in memory, with the store of its environment, which a worker shares.

python -m bench.batching.router PORT MODEL=ENGINE_PORT...
"""

import asyncio
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


async def main(port: int, models: list[str]) -> None:
    settings = replace(Settings.from_env(), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0)
    cluster = MemoryCluster()
    for each in models:
        name, _, engine = each.partition("=")
        cluster.add_model(name)
        cluster.set_endpoints(name, [int(engine)])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_store(settings) as keeping:
        router = Router(cluster, settings, keeping)
        tune_gc()
        await router.run(stop)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    uvloop.run(main(int(sys.argv[1]), sys.argv[2:]))
