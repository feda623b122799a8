"""The router as one running thing: its watches, its two listeners, and its end.

Owns start and stop order. Stopping: not ready at once, still serving until the cluster has noticed, then no new
connections, then until the open answers have ended or their time is up, then the last leases.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator

import structlog
import uvicorn

from dormouse_router.app import App
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.watch import Watcher
from dormouse_router.cluster import Cluster, Resource
from dormouse_router.dataplane.plane import DataPlane
from dormouse_router.dialects import all_dialects
from dormouse_router.ops import Ops
from dormouse_router.settings import Settings
from dormouse_router.store import Models

log = structlog.get_logger()
BACKLOG = 4096


class Server(uvicorn.Server):
    """uvicorn on a socket we bound, without its own handling of signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Router:
    """A router on `cluster`. `port` and `ops_port` say where it listens once started."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self.settings = settings
        self.catalog = Catalog()
        self.plane = DataPlane(self.catalog, cluster, settings)
        store = Models(cluster, self.catalog, settings)
        self.app = App(all_dialects(self.plane, store, settings), settings)
        self.watchers = [
            Watcher(cluster, self.catalog, resource, namespace, self.plane.metrics.watched)
            for resource in Resource
            for namespace in settings.namespaces or (None,)
        ]
        self._draining = False
        self._main = listen(settings.host, settings.port)
        self._ops = listen(settings.host, settings.ops_port)
        self.port: int = self._main.getsockname()[1]
        self.ops_port: int = self._ops.getsockname()[1]

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
            main = _server(self.app, self.settings.drain_seconds)
            ops = _server(Ops(self.plane, self.unready), 1.0)
            serving = [
                asyncio.create_task(main.serve([self._main])),
                asyncio.create_task(ops.serve([self._ops])),
            ]
            waiting = asyncio.create_task(stop.wait())
            await asyncio.wait([*serving, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            self._draining = True
            log.info("draining", in_flight=self.app.lives.count)
            await asyncio.sleep(self.settings.drain_delay)
            main.should_exit = True
            await serving[0]
            ops.should_exit = True
            await serving[1]
            await self.plane.close()

    @contextlib.asynccontextmanager
    async def _background(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        tasks.append(asyncio.create_task(self.plane.pool.sweep()))
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


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on which answers leave at once: uvicorn with asyncio's loop would leave Nagle on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind((host, port))
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _server(app: object, grace: float) -> Server:
    return Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            http="httptools",
            loop="none",
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=max(1, int(grace)),
            backlog=BACKLOG,
        )
    )
