"""The router as one running thing: its watches, its two listeners, and its end.

Owns start and stop order. Stopping: not ready at once, still serving until the cluster has noticed, each answer as its
connection's last, then no new connections, then until the open answers have ended or their time is up, then the last
leases.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import structlog

from dormouse_router.accounting import audit
from dormouse_router.accounting.books import Books, Clocks
from dormouse_router.app import App
from dormouse_router.asgi import AsgiTurn
from dormouse_router.behalf import Trust
from dormouse_router.caller import Gate
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.watch import Watcher
from dormouse_router.cluster import Cluster, Resource
from dormouse_router.dataplane.plane import DataPlane
from dormouse_router.dialects import all_dialects
from dormouse_router.guarded import Behalf, Guarded
from dormouse_router.hot import Hot
from dormouse_router.http11 import Connection
from dormouse_router.inside import Inside
from dormouse_router.keeping import Keeping
from dormouse_router.listener import Listener
from dormouse_router.modelstore import Models
from dormouse_router.ops import Ops
from dormouse_router.recent import Recent
from dormouse_router.settings import Settings
from dormouse_router.tracing.opening import Tracing
from dormouse_router.turns import Turn
from dormouse_router.webhooks.deliverer import Deliverer
from dormouse_router.webhooks.endpoints import Endpoints
from dormouse_router.webhooks.receivers import Receivers

log = structlog.get_logger()
OPS_SECONDS = 1.0
"""Longest end of an answer on the ops port."""


class Router:
    """A router on `cluster` that keeps in `keeping`. `port` and `ops_port` say where it listens once started."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        keeping: Keeping,
        recent: Recent | None = None,
        gate: Gate | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """`recent`: what went wrong of late, where the log remembers it. `gate`: None lets everybody in. Without
        `tracing` no spans are made."""
        self.settings = settings
        self.catalog = Catalog()
        self.plane = DataPlane(self.catalog, cluster, settings)
        self.plane.gate = gate
        if gate is not None:
            self.plane.metrics.limits_hit = gate.hits
        store = Models(cluster, self.catalog, settings)
        self.inside = Inside(self.plane, self, recent or Recent())
        dialects = all_dialects(self.plane, store, settings, keeping, self.inside, gate)
        self._dialects = dialects
        self.app = App(dialects)
        self._trust = Trust(keeping.batches.attended, self.plane.clock)
        around = (dialects, self.app, settings, self._trust)
        self._hot = (
            Hot(*around, Behalf(self.app, self.app.words, self._trust)) if gate is None else Guarded(*around, gate)
        )
        if tracing is not None:
            tracing.install(self._hot, self.plane)
        self.watchers = [
            Watcher(cluster, self.catalog, resource, namespace, self.plane.metrics.watched)
            for resource in Resource
            for namespace in settings.namespaces or (None,)
        ]
        receivers = Receivers(settings.webhooks_allowed, settings.webhook_ports)
        endpoints = Endpoints(settings.webhook_endpoints, receivers)
        self._deliverer = Deliverer(keeping.webhooks, receivers, endpoints, self.plane.metrics.webhook_tried)
        clocks = Clocks(steady=self.plane.clock, wall=time.time)
        self._books = Books(keeping.usage, audit.opened(settings.audit), clocks, self.plane.metrics.usage_lost)
        self.plane.book = self._books.note
        self._draining = False
        ops = Ops(self.plane, self.unready)
        self._main = self._listener(self._hot.take, settings.port)
        self._ops = self._listener(lambda connection: AsgiTurn(connection, ops), settings.ops_port)
        self.port, self.ops_port = self._main.port, self._ops.port

    def _listener(self, take: Callable[[Connection], Turn], port: int) -> Listener:
        settings = self.settings
        return Listener(
            take,
            (settings.host, port),
            body_timeout=settings.body_timeout,
            write_timeout=settings.write_timeout,
        )

    @property
    def connections(self) -> int:
        """Open connections of clients."""
        return self._main.connections

    def unready(self) -> str | None:
        """Why no calls should be sent here, or None."""
        if self._draining:
            return "stopping"
        if not all(watcher.synced.is_set() for watcher in self.watchers):
            return "the models have not been listed yet"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain."""
        async with self._background():
            await self._ops.start()
            await self._main.start()
            await stop.wait()
            self._draining = True
            log.info("draining", in_flight=self.app.lives.count)
            self._main.leave()
            await asyncio.sleep(self.settings.drain_delay)
            await self._drain(self.settings.drain_seconds)
            await self._deliverer.close()
            await self.plane.close()
            await self._books.close()
            await self._trust.close()
            await self.inside.scraper.close()
            await self._ops.stop(OPS_SECONDS)

    async def _drain(self, seconds: float) -> None:
        """The end of all that is done for clients, also for those who do not wait for it."""
        drains = [dialect.drain(seconds) for dialect in self._dialects if dialect.drain is not None]
        await asyncio.gather(self._main.stop(seconds), *drains)

    @contextlib.asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        tasks.append(asyncio.create_task(self.plane.pool.sweep()))
        tasks.append(asyncio.create_task(self.inside.pulse.beat()))
        tasks.append(asyncio.create_task(self._deliverer.run()))
        tasks.append(asyncio.create_task(self._books.run()))
        tends = [dialect.tend for dialect in self._dialects if dialect.tend is not None]
        tasks += [asyncio.create_task(tend(lambda: self.unready() is None)) for tend in tends]
        for task in tasks:
            task.add_done_callback(_report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _report(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task died", error=repr(error))
