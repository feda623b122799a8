"""The worker as one running thing: what it claims, which batches it validates and ends, and how it stops.

Decides nothing itself: whose turn a model is says `batch.rota`, when batches are worked on `batch.hours`.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from typing import Any

import structlog

from dormouse_router.batch import duties as perform
from dormouse_router.batch import rota
from dormouse_router.batch.duties import Serves, Taking
from dormouse_router.batch.forecast import Pace, forecast
from dormouse_router.batch.rota import Candidate, OpenModel, Working
from dormouse_router.batching import Duty, Work
from dormouse_router.request import Refusal
from dormouse_router.worker.client import Client
from dormouse_router.worker.desk import LEASE_SECONDS, Desk
from dormouse_router.worker.lane import Lane
from dormouse_router.worker.metrics import Metrics, Overview, Row
from dormouse_router.worker.modelwatch import ModelWatch
from dormouse_router.worker.settings import WorkerSettings

log = structlog.get_logger()
BEAT_SECONDS = 5.0
LATE_SECONDS = 45.0
"""Without a renewal that went well for so long, the worker says that it is in trouble."""
IDLE_SECONDS = 1.0
"""Between looks for new work where there was none."""
ROOM_SECONDS = 0.05
"""Between looks whether there is room for more."""
AWAY_SECONDS = 3.0
"""The same while the store is away."""
SILENCE = 720.0
"""Seconds beyond a hold in which a router says nothing: it gives an engine up after 600."""
TELL_SECONDS = 15.0
MOST_DUTIES = 2
MOST_IDLE_LANES = 64
"""Models without lines whose windows are remembered."""


class Crew:
    """One worker called `holder`, which nobody else was before it."""

    def __init__(self, work: Work, holder: str, rules: WorkerSettings, taking: Callable[[Serves], Taking]) -> None:
        """`taking`: what of a file is taken, by who says which models there are."""
        loop = asyncio.get_running_loop()
        self._work, self._holder, self._rules, self._clock = work, holder, rules, loop.time
        self._client = Client(rules.router_url, holder, rules.hold + SILENCE)
        self.lanes: dict[str, Lane] = {}
        self.desk = Desk(work, holder, self._client, self._lane, rules.bytes)
        self._watch = ModelWatch(self._client, loop.time)
        self._taking = taking(self._watch.serves)
        self._duties: dict[str, tuple[Duty, asyncio.Task[None]]] = {}
        self._seen: list[Candidate] = []
        self._looked = float("-inf")
        self._renewed = loop.time()
        self._stopping = False
        self.metrics = Metrics(self._rows)

    def trouble(self) -> str | None:
        """Why it cannot work, or None."""
        silent = self._clock() - self._renewed
        if silent > LATE_SECONDS:
            return f"the store has not been reached for {silent:.0f} s"
        return None

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`; then let what flies land, keep it, and give everything back.

        RuntimeError where a part of it died: a worker that only half works holds what others could do.
        """
        async with self._background() as died:
            stopped = asyncio.create_task(stop.wait())
            either: set[asyncio.Future[Any]] = {stopped, died}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            self._stopping = True
            if not stop.is_set():
                stopped.cancel()
                raise RuntimeError("a part of the worker died: its log says which")
            log.info("draining", chunks=len(self.desk.hands), lines=sum(lane.flying for lane in self.lanes.values()))
            self._give_back()
            await self._drain()

    async def _drain(self) -> None:
        try:
            async with asyncio.timeout(self._rules.drain):
                await self.desk.empty()
        except TimeoutError:
            self.desk.cut()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._rules.drain):
                    await self.desk.empty()

    @contextlib.asynccontextmanager
    async def _background(self) -> "AsyncIterator[asyncio.Future[None]]":
        """Everything that goes on; the future is done when some of it is not any more."""
        loops: list[Coroutine[Any, Any, None]] = [
            self._beating(),
            self._tending(),
            self._claiming(),
            self._serving(),
            self._telling(),
        ]
        tasks = [asyncio.create_task(each) for each in (*loops, self._client.sweep())]
        died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for task in tasks:
            task.add_done_callback(partial(_report, died))
        try:
            yield died
        finally:
            for task in (*tasks, *(task for _, task in self._duties.values())):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.desk.stop()
            for lane in self.lanes.values():
                lane.close()
            self._client.close()

    # ------------------------------------------------------------------ the loops

    async def _beating(self) -> None:
        """Leases go on."""
        while True:
            try:
                lost = await self.desk.renew([duty for duty, _ in self._duties.values()])
                self._renewed = self._clock()
            except Refusal as refusal:
                log.warning("leases could not be renewed", error=str(refusal))
                lost = frozenset()
            for batch in lost & self._duties.keys():
                self._duties[batch][1].cancel()
            await asyncio.sleep(BEAT_SECONDS)

    async def _tending(self) -> None:
        """Once a second: flushes that are due, models that must make room, hours that are over."""
        while True:
            await asyncio.sleep(1.0)
            self.desk.tick()
            if not self._rules.hours.open(time.time()):
                self._give_back()
            now, working = self._clock(), self._working()
            for lane in list(self.lanes.values()):
                lane.barred = not lane.awake and rota.barred(lane.model, self._seen, working, now)
                if lane.barred and not lane.flying:
                    self._give_back(lane.model)
                lane.pump()
            self._forget_idle()

    async def _telling(self) -> None:
        """What metrics tell of all batches."""
        pace = Pace()
        while True:
            with contextlib.suppress(Refusal):
                batches, now = await self._work.unended(), time.time()
                models = {found.model: found.lines for found in await self._work.open_models(self._holder)}
                self.metrics.overview = Overview(batches, models, forecast(now, batches, pace.told(now, batches)))
            await asyncio.sleep(TELL_SECONDS)

    async def _serving(self) -> None:
        """Batches as a whole are looked after."""
        while True:
            duty: Duty | None = None
            pause = IDLE_SECONDS
            if len(self._duties) < MOST_DUTIES and not self._stopping:
                try:
                    duty = await self._work.take(self._holder, LEASE_SECONDS)
                except Refusal:
                    pause = AWAY_SECONDS
            if duty is None:
                await asyncio.sleep(pause)
                continue
            task = asyncio.create_task(self._perform(duty))
            self._duties[duty.batch.id] = (duty, task)

    async def _perform(self, duty: Duty) -> None:
        try:
            await perform.perform(self._work, duty, self._taking)
            self.metrics.duties[duty.task.value] = self.metrics.duties.get(duty.task.value, 0) + 1
            log.info("looked after a batch", batch=duty.batch.id, task=duty.task.value)
        except Exception:
            log.exception("a batch could not be looked after", batch=duty.batch.id, task=duty.task.value)
        finally:
            self._duties.pop(duty.batch.id, None)

    async def _claiming(self) -> None:
        """Chunks are claimed wherever there is room. Polled, not told: a line that lands makes room too often."""
        while True:
            try:
                pause = await self._claim()
            except Refusal:
                pause = AWAY_SECONDS
            await asyncio.sleep(pause)

    async def _claim(self) -> float:
        """Claim a chunk if there is one; seconds until the next look."""
        if self._stopping or not self._rules.hours.open(time.time()):
            return IDLE_SECONDS
        if self.desk.full:
            return ROOM_SECONDS
        if not await self._look():
            return IDLE_SECONDS
        plan = rota.plan(self._seen, self._working(), self._clock())
        if all(candidate.model in plan.avoid for candidate in self._seen):
            return ROOM_SECONDS
        chunk = await self._work.claim(self._holder, LEASE_SECONDS, plan.prefer, plan.avoid)
        if chunk is None:
            return IDLE_SECONDS
        awake = any(candidate.model == chunk.model and candidate.awake for candidate in self._seen)
        if not awake and await self._too_late(chunk.model):
            await self._work.release(chunk)
            return IDLE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - two that gave way do not meet again
        lane = self._lane(chunk.model)
        lane.touch(rota.LINGER)
        if awake:
            lane.awake = lane.awake or not lane.flying
        self.desk.take(chunk)
        return 0.0

    async def _too_late(self, model: str) -> bool:
        """Whether another worker has begun to wake another model of its pool since the last look."""
        if model in self.lanes and self.lanes[model].busy:
            return False
        self._looked = float("-inf")
        await self._look()
        others = [working for working in self._working() if working.model != model]
        return rota.barred(model, self._seen, others, self._clock())

    async def _look(self) -> bool:
        """Which models there are lines of; whether there are any."""
        now = self._clock()
        if now - self._looked >= IDLE_SECONDS:
            open_models: list[OpenModel] = await self._work.open_models(self._holder)
            known = await self._watch.look([found.model for found in open_models])
            slept = {seen.model for seen in self._seen if not seen.awake}
            self._seen = [
                Candidate(found.model, known[found.model].awake, known[found.model].profile, found.held)
                for found in open_models
            ]
            self._looked = now
            for model in slept & {seen.model for seen in self._seen if seen.awake} & self.lanes.keys():
                self.lanes[model].woken()
        return bool(self._seen)

    # ------------------------------------------------------------------ inside

    def _lane(self, model: str) -> Lane:
        lane = self.lanes.get(model)
        if lane is None:
            rules = self._rules
            self.lanes[model] = lane = Lane(model, self.desk, self._client, rules.in_flight, rules.hold)
        return lane

    def _working(self) -> list[Working]:
        now = self._clock()
        return [
            Working(lane.model, lane.since, now if lane.busy else lane.last, lane.room) for lane in self.lanes.values()
        ]

    def _give_back(self, model: str | None = None) -> None:
        for hand in list(self.desk.hands.values()):
            if model in (None, hand.chunk.model):
                self.desk.close(hand)

    def _forget_idle(self) -> None:
        idle = sorted((lane for lane in self.lanes.values() if not lane.busy), key=lambda lane: lane.last)
        held = {hand.chunk.model for hand in self.desk.hands.values()}
        for lane in idle[: max(0, len(idle) - MOST_IDLE_LANES)]:
            if lane.model not in held:
                lane.close()
                del self.lanes[lane.model]

    def _rows(self) -> Iterator[Row]:
        self.metrics.lost = self.desk.lost
        for lane in self.lanes.values():
            yield Row(lane.model, lane.numbers, lane.flying, lane.window.size)


def _report(died: "asyncio.Future[None]", task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a part of the worker died", part=task.get_name(), error=repr(error))
        if not died.done():
            died.set_result(None)
