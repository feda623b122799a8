"""The bench's hook inside its own router process: steers the cluster in memory and reads the router's inner counts.

Lines of JSON over loopback, beside the router and not in it: the product has no such port. `control.py` asks.
"""

import asyncio
import contextlib
import gc
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from bench.routing.cluster import MemoryCluster
from bench.routing.control import Said
from dormouse_router.serve import Router


class Desk:
    """Answers one line with one line."""

    def __init__(self, router: Router, cluster: MemoryCluster) -> None:
        self._router, self._cluster = router, cluster
        self._commands: dict[str, Callable[..., Said]] = {
            "add": self._add,
            "remove": self._remove,
            "endpoints": self._endpoints,
            "counts": self._counts,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until its other end closes it."""
        with contextlib.suppress(asyncio.CancelledError):  # the loop ends; asyncio's streams would log it as a fault
            while line := await reader.readline():
                said = json.loads(line)
                answer = self._commands[said.pop("do")](**said)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    def _add(self, model: str, scaling: dict[str, int] | None = None) -> Said:
        self._cluster.add_model(model, scaling)
        return {}

    def _remove(self, model: str) -> Said:
        self._cluster.remove_model(model)
        return {}

    def _endpoints(self, model: str, ports: list[int]) -> Said:
        return {"ns": self._cluster.set_endpoints(model, ports)}

    def _counts(self, *, collect: bool = False) -> Said:
        """What is open, held and running now. `collect`: garbage first, so that only what is referred to is left."""
        if collect:
            gc.collect()
        plane = self._router.plane
        lanes = plane.lanes.values()
        endpoints = [endpoint for entry in self._router.catalog.entries() for endpoint in entry.endpoints]
        return {
            "ns": time.monotonic_ns(),
            "tasks": Counter(_name(task) for task in asyncio.all_tasks()),
            "connections": self._router.connections,
            "lanes": len(lanes),
            "in_flight": sum(lane.in_flight for lane in lanes),
            "endpoints_in_flight": sum(endpoint.in_flight for endpoint in endpoints),
            "held": sum(len(lane.held) for lane in lanes),
            "held_bytes": plane.hold.bytes,
            "wishes": self._cluster.wishes(),
        }


def _name(task: "asyncio.Task[Any]") -> str:
    return getattr(task.get_coro(), "__qualname__", repr(task.get_coro()))
