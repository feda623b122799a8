"""Asks every router pod how many requests each model has in flight or held, and keeps the last minute's peak.

Owns the poll; knows nothing of replicas. A model gets a look when its demand begins or ends, and one that may have
several pods also whenever its demand or its peak is another.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable

import aiohttp
from pydantic import ValidationError

from dormouse_api import demand as wire
from dormouse_operator.observed import Demand
from dormouse_operator.queue import Key

log = logging.getLogger(__name__)

WINDOW = 60.0
"""Seconds a peak counts: pods are added at once and taken away only after a calm minute."""
TIMEOUT = aiohttp.ClientTimeout(total=2, sock_connect=1)


class Board:
    """What the routers said. Pure but for the clock it is given."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._points: dict[Key, deque[tuple[float, int]]] = {}

    def take(self, answers: Iterable[wire.Demand]) -> dict[Key, bool]:
        """One poll of all routers; models whose demand or peak is another now, and whether demand began or ended."""
        now, total = self._clock(), dict.fromkeys(self._points, 0)
        for answer in answers:
            for name, model in answer.models.items():
                namespace, _, plain = name.partition("/")
                key = Key(namespace, plain)
                total[key] = total.get(key, 0) + model.in_flight + model.held
        changed: dict[Key, bool] = {}
        for key, count in total.items():
            before = self.of(key)
            points = self._points.setdefault(key, deque())
            points.append((now, count))
            while points[0][0] < now - WINDOW:
                points.popleft()
            if not any(number for _, number in points):
                del self._points[key]
            after = self.of(key)
            if after != before:
                changed[key] = bool(before and before.now) != bool(after and after.now)
        return changed

    def of(self, key: Key) -> Demand | None:
        """The model's demand; None when nobody asked for it within the last minute."""
        points = self._points.get(key)
        return Demand(points[-1][1], max(number for _, number in points)) if points else None


class Demands:
    """Polls the routers behind `address` (host:port of a headless Service; empty: nobody is asked)."""

    def __init__(self, address: str, changed: Callable[[Key], None], every: float) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port or 0)
        self._changed = changed
        self._every = every
        self._board = Board()
        self._sized: set[Key] = set()

    def size(self, key: Key, wanted: bool) -> None:
        """Whether every change of the model's demand is worth a look: it may have several pods."""
        if wanted:
            self._sized.add(key)
        else:
            self._sized.discard(key)

    def of(self, key: Key) -> Demand | None:
        """The model's demand, if any router has told of it lately."""
        return self._board.of(key)

    async def run(self) -> None:
        """Poll until cancelled."""
        if not self._host:
            return
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            while True:
                answers = await asyncio.gather(*(self._ask(session, ip) for ip in await self._routers()))
                changed = self._board.take(answer for answer in answers if answer is not None)
                for key, turned in changed.items():
                    if turned or key in self._sized:
                        self._changed(key)
                await asyncio.sleep(self._every)

    async def _routers(self) -> list[str]:
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            return sorted({str(entry[4][0]) for entry in found})
        return []

    async def _ask(self, session: aiohttp.ClientSession, ip: str) -> wire.Demand | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with session.get(f"http://{host}:{self._port}/demand") as response:
                response.raise_for_status()
                return wire.Demand.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            log.debug("router %s does not tell its demand: %r", ip, error)
            return None
