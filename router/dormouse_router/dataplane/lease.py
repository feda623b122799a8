"""Keeping a model awake: when its Lease is written, and what is written.

`next_write` decides, purely. `LeaseKeeper` obeys: one task per model while the model is wanted, few writes
(renewals at a third of the wish, one last write when the traffic ends), and a write that fails is tried again for as
long as it is wanted. A shorter wish never overwrites a later end, except when a caller asks to unload.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import structlog

from dormouse_api.lease import FOREVER, Wish, later, lease_spec, wish_for
from dormouse_api.names import runtime_name
from dormouse_router.cluster import Cluster, ClusterError, LeaseState
from dormouse_router.dataplane.lane import Lane

log = structlog.get_logger()
SHORTEST, LONGEST = 6.0, 30.0
"""Bounds of the wish while calls run: short enough that the last word (idleSeconds, keep_alive) is soon heard and a
dead router is soon forgotten, long enough that the API server hears of a busy model six times a minute."""
SPACING = 5.0
"""Between the end of the traffic and its last write, so that calls one after the other do not each write."""
MARGIN = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a decision is made of. Times in seconds since the epoch."""

    busy: bool
    idle_since: float
    linger: float | None
    """Seconds to stay awake after the last call; None is for ever."""
    last_write: float = 0.0

    @property
    def ends(self) -> float:
        """When the model may sleep, as far as the traffic of this router goes."""
        return self.idle_since + (FOREVER if self.linger is None else self.linger)


def working(linger: float | None) -> float:
    """Seconds of the wish written while calls run."""
    return min(LONGEST, max(SHORTEST, LONGEST if linger is None else linger))


def next_write(now: float, traffic: Traffic, known: Wish | None) -> float | None:
    """When the Lease must next be written (a time not before `now`), or None where its end already says enough."""
    if traffic.busy:
        if known is None:
            return now
        return max(now, known.ends - working(traffic.linger) * 2 / 3)
    if known is None or known.ends >= traffic.ends - 0.001:
        return None
    return max(now, min(traffic.last_write + SPACING, known.ends - MARGIN))


def wanted(now: float, traffic: Traffic) -> Wish:
    """The wish to write at `now`."""
    if traffic.busy:
        return wish_for(now, working(traffic.linger))
    duration = max(1, min(FOREVER, ceil(traffic.ends - now)))
    return Wish(min(now, traffic.ends - duration), duration)


@dataclass(frozen=True, slots=True)
class Around:
    """What every keeper of a router is given."""

    cluster: Cluster
    holder: str
    """Who the Lease says wrote it."""
    wall: Callable[[], float]
    """Seconds since the epoch."""
    steady: Callable[[], float]
    """Monotonic seconds: the lanes' time."""
    wrote: Callable[[], None]
    """Called after every write, for the metrics."""


class LeaseKeeper:
    """The Lease of one model."""

    def __init__(self, around: Around, lane: Lane, idle_seconds: Callable[[], float | None]) -> None:
        """`idle_seconds` is asked each time, because the spec may change; None: the model is gone."""
        self._cluster, self._lane, self._holder = around.cluster, lane, around.holder
        self._idle_seconds, self._wall, self._monotonic = idle_seconds, around.wall, around.steady
        self._wrote = around.wrote
        self._state: LeaseState | None = None
        self._last_write = 0.0
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.running = False

    @property
    def ends(self) -> float | None:
        """When the model may sleep as far as this router knows, in seconds since the epoch."""
        known = self._state.wish.ends if self._state is not None and self._state.wish is not None else None
        if self._lane.busy:
            return max(known or 0.0, self._wall() + working(self._traffic(0.0).linger))
        if self._lane.idle_since:
            return max(known or 0.0, self._traffic(self._idle_seconds() or 0.0).ends)
        return known

    def start(self) -> None:
        """The model is wanted: see to its Lease from now on, until it is not."""
        if not self.running:
            self.running = True
            self._task = asyncio.get_running_loop().create_task(self._run())

    def refresh(self) -> None:
        """A wake begins: what we knew of the Lease may be old (another router may have ended it), so read it again."""
        self._state = None
        self._poke.set()
        self.start()

    def poke(self) -> None:
        """Something changed that may let a failed write succeed, or end the need for one."""
        self._poke.set()

    async def unload(self) -> None:
        """End the wish now, whatever it was. Raises ClusterError."""
        for attempt in range(5):
            state = await self._cluster.get_lease(self._lane.key[0], runtime_name(self._lane.key[1]))
            try:
                await self._patch(wish_for(self._wall(), 0), state.version)
            except ClusterError as error:
                if error.status != 409 or attempt == 4:
                    raise
            else:
                return

    async def read(self) -> Wish | None:
        """The wish as the API server has it. Raises ClusterError."""
        self._state = await self._cluster.get_lease(self._lane.key[0], runtime_name(self._lane.key[1]))
        return self._state.wish

    async def close(self) -> None:
        """Write what is still to be said, once, and stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        idle = self._idle_seconds()
        if idle is None or not self._lane.idle_since:
            return
        try:
            await self._write(wanted(self._wall(), self._traffic(idle)))
        except ClusterError as error:
            log.warning("last lease renewal failed", model=self._lane.key, error=str(error))

    def _traffic(self, idle: float) -> Traffic:
        lane = self._lane
        linger = lane.linger if lane.linger is not None else idle
        since = self._wall() - (self._monotonic() - lane.idle_since)
        return Traffic(lane.busy, since, None if linger < 0 else linger, self._last_write)

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while (idle := self._idle_seconds()) is not None:
                self._poke.clear()
                traffic, now = self._traffic(idle), self._wall()
                due = next_write(now, traffic, self._state.wish if self._state else None)
                if due is None and (self._state is not None or traffic.ends <= now):
                    return
                if due is not None and due > now:
                    await self._pause(due - now)
                    continue
                try:
                    await self._write(wanted(now, traffic))
                    pause = FIRST_PAUSE
                except ClusterError as error:
                    self._failed(error)
                    await self._pause(pause)
                    pause = min(LONGEST_PAUSE, pause * 2)
        finally:
            self.running = False

    def _failed(self, error: ClusterError) -> None:
        self._state = None
        if error.status == 404:
            # the operator makes the Lease; a model that is still being pulled may have none yet
            log.debug("no lease yet", model=self._lane.key)
        elif error.status != 409:
            log.warning("lease not written", model=self._lane.key, status=error.status, error=str(error))

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._poke.wait()
        except TimeoutError:
            pass

    async def _write(self, wish: Wish) -> None:
        if self._state is None:
            await self.read()
        state = self._state
        if state is not None and later(wish, state.wish):
            await self._patch(wish, state.version)

    async def _patch(self, wish: Wish, version: str) -> None:
        namespace, model = self._lane.key
        spec = lease_spec(wish, self._holder)
        self._state = await self._cluster.patch_lease(namespace, runtime_name(model), spec, version)
        self._last_write = self._wall()
        self._wrote()
