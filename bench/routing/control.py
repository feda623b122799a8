"""How a bench steers the router's cluster and reads the router's inner counts: lines of JSON over loopback.

The serving half runs inside the bench's own router process (`bench.routing.proxy`), beside the router and not in it:
the product has no such port.
"""

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from bench.routing.cluster import MemoryCluster
from dormouse_router.serve import Router

Said = dict[str, Any]


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


class Control:
    """The other end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._turn = asyncio.Lock()

    @classmethod
    async def connect(cls, port: int) -> "Control":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, do: str, **fields: object) -> Said:
        """Run one command. ConnectionError where the router's process is gone."""
        async with self._turn:
            self._writer.write(json.dumps({"do": do, **fields}).encode() + b"\n")
            line = await self._reader.readline()
        if not line:
            raise ConnectionError("the router's process closed its control port")
        answer: Said = json.loads(line)
        return answer

    def close(self) -> None:
        self._writer.close()
