"""The router itself, whole (metrics, accounting, leases, limits), on a cluster in memory.

python -m bench.routing.proxy PORT ENGINE_PORT [CONTROL_PORT [SETTINGS]] [--guarded FOLDER]

With an engine, one awake model is served by it. With a control port, `bench.routing.control` listens there.
`SETTINGS` is JSON: fields of the router's settings that shall differ. SIGTERM drains, as in the product. `--guarded`:
keys are asked for, limits of key, user and team are counted, usage goes into a database in FOLDER, audit into a file.
"""

import argparse
import asyncio
import contextlib
import json
import signal
from dataclasses import replace
from pathlib import Path

import structlog
import uvloop

from bench.routing.bodies import KEY, MODEL
from bench.routing.cluster import MemoryCluster
from bench.routing.desk import Desk
from dormouse_router.access.opening import open_access
from dormouse_router.access.settings import AccessSettings
from dormouse_router.caller import Limits
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.startup import tune_gc
from dormouse_router.store import open_store
from dormouse_router.store.memory import in_memory

MANY = Limits(requests=10**9, tokens=10**12, concurrent=10**6)


def guarded(settings: Settings, folder: Path) -> Settings:
    """With everything on that is asked and written of a request."""
    secret = folder / "keys" / "bench"
    secret.mkdir(parents=True)
    (secret / "load").write_text(json.dumps({"key": KEY, "user": "load", "teams": ["red"]}))
    access = AccessSettings(
        modes=("keys",), keys=str(folder / "keys"), key_limits=MANY, user_limits=MANY, teams={"red": MANY}
    )
    return replace(settings, access=access, database_url=f"sqlite:///{folder}/router.db", audit=f"{folder}/audit")


async def main(port: int, engine_port: int, control_port: int, different: str, folder: Path | None) -> None:
    settings = replace(Settings(), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0, **json.loads(different))
    cluster = MemoryCluster()
    if engine_port:
        cluster.add_model(MODEL)
        cluster.set_endpoints(MODEL, [engine_port])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        keeping, gate = in_memory(), None
        if folder is not None:
            settings = guarded(settings, folder)
            keeping = await stack.enter_async_context(open_store(settings))
            gate = await stack.enter_async_context(open_access(settings.access, keeping.accounts))
        router = Router(cluster, settings, keeping, gate=gate)
        tune_gc()
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
    parser.add_argument("--guarded", type=Path)
    given = parser.parse_args()
    uvloop.run(main(given.port, given.engine, given.control, given.settings, given.guarded))
