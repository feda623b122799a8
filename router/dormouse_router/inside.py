"""`insight.Insight`: what the router's parts know, put together for whoever watches it. Changes nothing.

Owns what may be told: of the settings only what cannot hold a secret.
"""

import asyncio
import resource
import time
from collections import deque
from dataclasses import fields
from importlib import metadata
from typing import Any, Protocol

from dormouse_router.catalog.record import Record
from dormouse_router.catalog.watch import Watcher
from dormouse_router.dataplane.plane import DataPlane
from dormouse_router.insight import PassedOver, Process, Reading, Traffic, Watching
from dormouse_router.recent import Recent
from dormouse_router.scrape import Scraper, ready_engines
from dormouse_router.settings import Settings

TELLING = frozenset({"host", "pod_name", "default_namespace", "namespaces", "origins", "pull_sources"})
"""Settings that are text and hold no secret; of any other text only whether it is set."""
PACKAGES = ("dormouse-router", "dormouse-api", "fastapi", "uvicorn", "uvloop", "msgspec", "kubernetes", "aiohttp")
PULSE_SECONDS = 1.0
PULSES = 60


class Pulse:
    """How late the event loop is: the worst of the last minute."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=PULSES)

    @property
    def worst(self) -> float:
        return max(self._late, default=0.0)

    async def beat(self) -> None:
        """For ever."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._late.append(max(0.0, loop.time() - due))


class Running(Protocol):
    """`serve.Router`, as far as it is told of."""

    watchers: list[Watcher]

    @property
    def connections(self) -> int: ...

    def unready(self) -> str | None: ...


class Inside:
    """One per router."""

    def __init__(self, plane: DataPlane, router: Running, recent: Recent) -> None:
        """`router` is asked later only: it is still being made."""
        self._plane, self._router, self._recent = plane, router, recent
        self.pulse = Pulse()
        self.scraper = Scraper(plane.clock, plane.settings.admin_port)
        self._since = plane.clock()

    def process(self) -> Process:
        return Process(
            version=metadata.version("dormouse-router"),
            pod=self._plane.settings.pod_name,
            uptime=self._plane.clock() - self._since,
            connections=self._router.connections,
            resident=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            lag=self.pulse.worst,
            unready=self._router.unready(),
        )

    def traffic(self, record: Record) -> Traffic:
        lane = self._plane.lanes.get(record.key)
        if lane is None:
            return Traffic()
        now, wall = self._plane.clock(), time.time()
        last = wall - (now - lane.idle_since) if lane.idle_since else None
        return Traffic(lane.in_flight, len(lane.held), lane.oldest_wait(now), wall if lane.in_flight else last)

    def watches(self) -> list[Watching]:
        return [watcher.state() for watcher in self._router.watchers]

    def passed_over(self) -> list[PassedOver]:
        now = self._plane.clock()
        return [
            PassedOver(entry.record, endpoint.host, endpoint.failures, endpoint.avoid_until - now)
            for entry in self._plane.catalog.entries()
            for endpoint in entry.endpoints
            if endpoint.avoid_until > now
        ]

    def configuration(self) -> dict[str, Any]:
        return configuration(self._plane.settings)

    def versions(self) -> dict[str, str]:
        return {package: metadata.version(package) for package in PACKAGES}

    def errors(self) -> list[dict[str, str]]:
        return self._recent.events()

    async def engines(self) -> list[Reading]:
        entries = self._plane.catalog.entries()
        return await self.scraper.read(ready_engines((entry.record, entry.endpoints) for entry in entries))


def configuration(settings: Settings) -> dict[str, Any]:
    """`settings` as they may be told to anybody."""
    return {field.name: _told(field.name, getattr(settings, field.name)) for field in fields(Settings)}


def _told(name: str, value: object) -> object:
    if value is None or isinstance(value, (bool, int, float)) or name in TELLING:
        return list(value) if isinstance(value, tuple) else value
    return "set" if value else "not set"
