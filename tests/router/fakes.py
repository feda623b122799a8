"""A router between an API server in memory (`fakecluster.py`) and engines on loopback (`rawengine.py`)."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from dormouse_router.caller import Gate
from dormouse_router.cluster import Object, Resource
from dormouse_router.keeping import Keeping
from dormouse_router.serve import Router
from dormouse_router.settings import Settings
from dormouse_router.store.memory import in_memory
from dormouse_router.tracing.opening import Tracing
from tests.router.fakecluster import FakeCluster as FakeCluster
from tests.router.fakecluster import model as model
from tests.router.fakecluster import route as route
from tests.router.fakecluster import slice_of as slice_of
from tests.router.rawengine import Engine as Engine
from tests.router.rawengine import Exchange as Exchange
from tests.router.rawengine import Serve as Serve
from tests.router.rawengine import chat_chunk as chat_chunk
from tests.router.rawengine import chat_completion as chat_completion
from tests.router.rawengine import endless as endless
from tests.router.rawengine import in_two as in_two
from tests.router.rawengine import speak as speak

DEADLINE = 20.0
AT_ONCE = 5.0
"""Seconds from the event that tells a cause to the answer that repeats it: far below any hold."""


class Stage:
    """A running router with a fake cluster behind it and, once `awake`, engines."""

    def __init__(
        self,
        settings: Settings,
        cluster: FakeCluster | None = None,
        keeping: Keeping | None = None,
        gate: Gate | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.cluster = cluster or FakeCluster()
        self.router = Router(self.cluster, settings, keeping or in_memory(), gate=gate, tracing=tracing)
        self.stop = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.router.port}"

    @property
    def ops(self) -> str:
        return f"http://127.0.0.1:{self.router.ops_port}"

    def ready(self, *engines: Engine, name: str = "tiny") -> None:
        """The engines become the model's ready endpoints."""
        for engine in engines:
            self.cluster.put(Resource.SLICES, slice_of(name, engine.port))

    def unready(self, engine: Engine, name: str = "tiny") -> None:
        self.cluster.put(Resource.SLICES, slice_of(name, engine.port, ready=False))

    async def awake(self, *engines: Engine, name: str = "tiny") -> None:
        """Add the model and make the engines its endpoints; returns when the router knows."""
        if (("default", name)) not in self.cluster.objects[Resource.MODELS]:
            self.cluster.add_model(model(name))
        self.ready(*engines, name=name)
        await until(lambda: self.endpoints(name) == len(engines))

    async def asleep(self, obj: Object | None = None) -> None:
        """Add a model without endpoints; returns when the router knows."""
        obj = obj or model()
        self.cluster.add_model(obj)
        key = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        await until(lambda: self.router.catalog.get(key) is not None)

    def endpoints(self, name: str = "tiny") -> int:
        """How many ready endpoints the router knows."""
        entry = self.router.catalog.find(name)
        return len(entry.endpoints) if entry is not None else 0

    def wake_with(self, engine: Engine, name: str = "tiny") -> None:
        """Stand in for the operator: the first wish for the model brings `engine` up."""
        self.cluster.on_lease_write = lambda _namespace, _lease, wish: (
            self.ready(engine, name=name) if wish.ends > time.time() else None
        )


SETTINGS = Settings(host="127.0.0.1", port=0, ops_port=0, pod_name="router-1", drain_delay=0.0, drain_seconds=5.0)


@contextlib.asynccontextmanager
async def stage(
    keeping: Keeping | None = None,
    cluster: FakeCluster | None = None,
    gate: Gate | None = None,
    spans: Tracing | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """A running router, listed and ready."""
    made = Stage(replace(SETTINGS, **settings), cluster, keeping, gate, spans)
    running = asyncio.create_task(made.router.run(made.stop))
    try:
        async with asyncio.timeout(DEADLINE):
            for watcher in made.router.watchers:
                await watcher.synced.wait()
        yield made
    finally:
        made.stop.set()
        async with asyncio.timeout(DEADLINE):
            await running


async def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait until `condition` holds; the test fails when it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0.005)
