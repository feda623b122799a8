"""Keep the catalogue as the API server has it: list, watch, list again when the watch is too old.

Owns the three loops (models, routes, endpoint slices), their backoff, and the reading of an EndpointSlice. A list
replaces everything it covers, because a watch that starts anew tells of no deletions.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import TypeVar

import structlog
from pydantic import ValidationError

from dormouse_api.names import LABEL_MODEL, PORT_SERVING, runtime_name
from dormouse_router.catalog.catalog import Address, Catalog
from dormouse_router.catalog.record import Key, Record, record_from
from dormouse_router.catalog.routes import Route, route_from
from dormouse_router.cluster import Cluster, ClusterError, Event, Expired, Object, Resource
from dormouse_router.insight import Watching

Read = TypeVar("Read", Record, Route)
log = structlog.get_logger()
SERVICE_NAME = "kubernetes.io/service-name"
NOT_THERE = (403, 404)
"""Routes that cannot be listed keep no model from being served: an older installation has no such kind, or grants none
(Helm never upgrades CRDs)."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
A_MOMENT = 15.0
"""Longer than the longest pause and a try to connect: a watch that has been well for so long is well."""


class Watcher:
    """Watches one resource in one namespace (None: all) and tells the catalogue."""

    def __init__(
        self,
        cluster: Cluster,
        catalog: Catalog,
        resource: Resource,
        namespace: str | None,
        count: Callable[[str], None],
    ) -> None:
        """`count` is told the resource of every event, for the metrics."""
        self._cluster, self._catalog = cluster, catalog
        self._resource, self._namespace = resource, namespace
        self._count = count
        self.synced = asyncio.Event()
        """Set once the first list is in the catalogue."""
        self._heard = self._broke = 0.0
        self._error = ""

    def state(self) -> Watching:
        """How the watch is doing."""
        now = time.monotonic()
        silent = now - self._heard if self._heard else None
        error = self._error if now - self._broke < A_MOMENT else ""
        return Watching(self._resource.value, self._namespace, self.synced.is_set(), silent, error)

    async def run(self) -> None:
        """For ever: survives every outage of the API server."""
        version, pause = "", FIRST_PAUSE
        while True:
            try:
                if not version:
                    version = await self._list()
                version = await self._follow(version)
                pause = FIRST_PAUSE
            except Expired:
                version = ""
            except ClusterError as error:
                self._broke, self._error = time.monotonic(), str(error)
                log.warning("watch interrupted", resource=self._resource.value, status=error.status, error=str(error))
                if self._resource is Resource.ROUTES and error.status in NOT_THERE:
                    self.synced.set()
                if error.status:
                    version = ""  # it answered, but not with a stream: begin anew
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads routers, no secret
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _list(self) -> str:
        listing = await self._cluster.list(self._resource, self._namespace)
        self._heard = time.monotonic()
        self._count(self._resource.value)
        if self._resource is Resource.MODELS:
            self._catalog.replace(_read(listing.items, record_from), self._namespace)
        elif self._resource is Resource.ROUTES:
            self._catalog.routes.replace(_read(listing.items, route_from), self._namespace)
        else:
            self._catalog.replace_slices(_by_model(listing.items), self._namespace)
        self.synced.set()
        return listing.version

    async def _follow(self, version: str) -> str:
        async with aclosing(self._cluster.watch(self._resource, self._namespace, version)) as events:
            async for event in events:
                version, self._heard = event.version, time.monotonic()
                if event.kind != "BOOKMARK":
                    self._count(self._resource.value)
                    self._apply(event)
        return version

    def _apply(self, event: Event) -> None:
        if self._resource is Resource.SLICES:
            self._apply_slice(event)
            return
        meta = event.object["metadata"]
        key = (meta["namespace"], meta["name"])
        if self._resource is Resource.ROUTES:
            self._apply_route(event, key)
        elif event.kind == "DELETED":
            self._catalog.drop(key)
        else:
            for record in _read([event.object], record_from):
                self._catalog.put(record)

    def _apply_route(self, event: Event, key: Key) -> None:
        if event.kind == "DELETED":
            self._catalog.routes.drop(key)
        else:
            for route in _read([event.object], route_from):
                self._catalog.routes.put(route)

    def _apply_slice(self, event: Event) -> None:
        key = slice_key(event.object)
        if key is None:
            return
        name = event.object["metadata"]["name"]
        if event.kind == "DELETED":
            self._catalog.drop_slice(key, name)
        else:
            self._catalog.put_slice(key, name, ready_addresses(event.object))


def _read(objects: list[Object], reader: Callable[[Object], Read]) -> list[Read]:
    """Those of `objects` that can be read; the log tells of the others."""
    found = []
    for obj in objects:
        try:
            found.append(reader(obj))
        except ValidationError as error:
            meta = obj["metadata"]
            log.error("object not understood", namespace=meta["namespace"], name=meta["name"], error=str(error))
    return found


def _by_model(objects: list[Object]) -> dict[Key, dict[str, tuple[Address, ...]]]:
    found: dict[Key, dict[str, tuple[Address, ...]]] = {}
    for obj in objects:
        key = slice_key(obj)
        if key is not None:
            found.setdefault(key, {})[obj["metadata"]["name"]] = ready_addresses(obj)
    return found


def slice_key(obj: Object) -> Key | None:
    """The model an EndpointSlice belongs to, or None: it must be of the model's own runtime Service."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    model = labels.get(LABEL_MODEL)
    if not model or labels.get(SERVICE_NAME) != runtime_name(model):
        return None
    return (meta["namespace"], model)


def ready_addresses(obj: Object) -> tuple[Address, ...]:
    """The addresses of an EndpointSlice that may be sent requests: ready, and not terminating."""
    if obj.get("addressType") == "FQDN":
        return ()
    port = _serving_port(obj.get("ports") or [])
    return tuple(
        (endpoint["addresses"][0], port)
        for endpoint in obj.get("endpoints") or []
        if _may_serve(endpoint.get("conditions") or {}) and endpoint.get("addresses")
    )


def _may_serve(conditions: Object) -> bool:
    # a missing `ready` means yes, by the API's own rule
    return conditions.get("ready") is not False and conditions.get("terminating") is not True


def _serving_port(ports: list[Object]) -> int:
    named = {port.get("name"): port.get("port") for port in ports}
    first = ports[0].get("port") if ports else None
    return int(named.get("serving") or first or PORT_SERVING)
