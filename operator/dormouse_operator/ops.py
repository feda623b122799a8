"""The operator's own HTTP: /metrics, /livez, /readyz on one port.

A probe fails when the operator itself is stuck, never because the API server is away: an outage of the one must not
restart the other.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

BEAT_SECONDS = 0.5
LONGEST_LAG = 10.0
"""Seconds the event loop may have been blocked within the last minute."""
LONGEST_LOOK = 180.0
"""Seconds one look may take: every call of it has a deadline far below that."""
LONGEST_QUEUE = 600.0


@dataclass(frozen=True)
class Vitals:
    """What the probes judge; seconds."""

    lag: float
    oldest_running: float
    oldest_waiting: float
    watching: bool
    """kopf's task is alive."""
    workers: int
    started: bool
    """The first lists are in and the workers run; of a standby: it knows who leads."""
    standby: str | None = None
    """Who leads, where it is not this operator."""


def problems(vitals: Vitals) -> list[str]:
    """What is wrong, in words; empty when the operator is well."""
    found = []
    if vitals.standby is None and not vitals.watching:
        found.append("the watches have ended")
    if vitals.standby is None and not vitals.workers:
        found.append("no worker is running")
    if vitals.lag > LONGEST_LAG:
        found.append(f"the event loop was blocked for {vitals.lag:.1f} s")
    if vitals.oldest_running > LONGEST_LOOK:
        found.append(f"a look has been running for {vitals.oldest_running:.0f} s")
    if vitals.oldest_waiting > LONGEST_QUEUE:
        found.append(f"a model has waited for a look for {vitals.oldest_waiting:.0f} s")
    return found


class Heart:
    """Measures how late the event loop runs."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lags: list[tuple[float, float]] = []

    def beat(self, late: float) -> None:
        """One beat came `late` seconds too late."""
        now = self._clock()
        self._lags = [(at, lag) for at, lag in self._lags if at > now - 60.0]
        if late > 0.1:
            self._lags.append((now, late))

    def lag(self) -> float:
        """The longest lag of the last minute."""
        since = self._clock() - 60.0
        return max((lag for at, lag in self._lags if at > since), default=0.0)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            before = self._clock()
            await asyncio.sleep(BEAT_SECONDS)
            self.beat(self._clock() - before - BEAT_SECONDS)


def application(vitals: Callable[[], Vitals], metrics: Callable[[], bytes]) -> web.Application:
    """The aiohttp application."""

    async def livez(_: web.Request) -> web.Response:
        return _answer(problems(vitals()), "ok")

    async def readyz(_: web.Request) -> web.Response:
        now = vitals()
        well = "ok" if now.standby is None else f"ok: stands by, {now.standby or 'nobody'} leads"
        return _answer(problems(now) + ([] if now.started else [_unready(now)]), well)

    async def exposition(_: web.Request) -> web.Response:
        return web.Response(body=metrics(), headers={"Content-Type": "text/plain; version=1.0.0; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", exposition)])
    return app


def _unready(vitals: Vitals) -> str:
    return "the first lists are not in yet" if vitals.standby is None else "the election Lease was not read yet"


def _answer(wrong: list[str], well: str) -> web.Response:
    return web.Response(status=503 if wrong else 200, text="; ".join(wrong) or well)


async def serve(app: web.Application, port: int) -> web.AppRunner:
    """Listen on every address; `cleanup()` of the answer ends it."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    return runner
