"""The router itself, whole (metrics, accounting, leases, limits), on a cluster in memory.

python -m bench.routing.proxy PORT ENGINE_PORT [CONTROL_PORT [SETTINGS]]

With an engine, one awake model is served by it. With a control port, `bench.routing.control` listens there.
`SETTINGS` is JSON: fields of the router's settings that shall differ. SIGTERM drains, as in the product.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from dataclasses import replace

import structlog
import uvloop

from bench.routing.bodies import MODEL
from bench.routing.cluster import MemoryCluster
from bench.routing.desk import Desk
from dormouse_router.__main__ import tune_gc
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.store.memory import in_memory


async def main(port: int, engine_port: int, control_port: int, different: str) -> None:
    settings = replace(Settings(), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0, **json.loads(different))
    cluster = MemoryCluster()
    if engine_port:
        cluster.add_model(MODEL)
        cluster.set_endpoints(MODEL, [engine_port])
    router = Router(cluster, settings, in_memory())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tune_gc()
    async with contextlib.AsyncExitStack() as stack:
        if control_port:
            desk = Desk(router, cluster)
            await stack.enter_async_context(await asyncio.start_server(desk.serve, "127.0.0.1", control_port))
        await router.run(stop)


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    parser = argparse.ArgumentParser()
    for name, default in (("port", None), ("engine", None), ("control", 0)):
        parser.add_argument(name, type=int, nargs=None if default is None else "?", default=default)
    parser.add_argument("settings", nargs="?", default="{}")
    given = parser.parse_args()
    uvloop.run(main(given.port, given.engine, given.control, given.settings))
