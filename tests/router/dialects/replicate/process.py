"""A router to be killed, with one model: `python -m tests.router.dialects.replicate.process PORT FOLDER ENGINE`."""

import asyncio
import signal
import sys
from dataclasses import replace

import uvloop

from bench.routing.cluster import MemoryCluster
from dormouse_router.dialects.replicate import desk
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.webhooks import deliverer

NAME = "tiny-chat"


async def main(port: int, folder: str, engine: int) -> None:
    places = {"database_url": f"sqlite:///{folder}/router.db", "files": f"file://{folder}/files"}
    here = replace(Settings(), host="127.0.0.1", port=port, ops_port=0, drain_delay=0.0)
    settings = replace(here, **places, webhooks_allowed=("127.0.0.0/8",))  # type: ignore[arg-type]
    # whoever was killed is given up sooner than its leases say
    desk.LEASE_SECONDS, desk.RENEW_SECONDS, desk.CLAIM_SECONDS = 3.0, 0.3, 0.1
    vars(deliverer)["LEASE_SECONDS"] = 1.0
    cluster = MemoryCluster()
    cluster.add_model(NAME)
    cluster.set_endpoints(NAME, [engine])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with open_store(settings) as keeping:
        await Router(cluster, settings, keeping).run(stop)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
