"""The predictions that this router makes: how many at once, held by a lease, kept as they go on, and told of.

A prediction belongs to no router: what nobody holds is begun by whoever has room, the oldest first. A router that
cannot renew its leases has lost its predictions to another one, and one that stops lets go of what it could not finish.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable

import structlog

from dormouse_router.dialects.replicate import objects
from dormouse_router.dialects.replicate.jobs import Job, anew
from dormouse_router.dialects.replicate.making import Maker
from dormouse_router.dialects.replicate.objects import Object
from dormouse_router.predicting import CANCELED, FAILED, PROCESSING, Predictions
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

log = structlog.get_logger()
LEASE_SECONDS = 30.0
RENEW_SECONDS = 5.0
CLAIM_SECONDS = 1.0
KEEP_SECONDS = 2.0
"""How often a prediction that goes on is kept: other routers show it so."""
AGAIN_SECONDS = 1.0
MOST_BEGINNINGS = 5
"""A prediction that ends its routers is not begun for ever."""


class Desk:
    """`run` it beside a router; `drain` ends it."""

    def __init__(self, maker: Maker, predictions: Predictions, settings: Settings) -> None:
        self._maker, self._predictions = maker, predictions
        self._most, self._owner_most = settings.predictions_most, settings.predictions_owner
        self._run_seconds = settings.prediction_run_seconds
        self.holder = f"{settings.pod_name}/{secrets.token_hex(4)}"
        """Another one after each start: what the process before held is nobody's."""
        self._jobs: dict[str, Job] = {}
        self._stopping, self._stirred, self._over = False, asyncio.Event(), asyncio.Event()

    # ------------------------------------------------------------------ for requests

    async def begin(self, job: Job) -> None:
        """It is kept when this returns, and made here or by whoever has room. Refusal 429, 503."""
        if self._stopping or len(self._jobs) >= self._most:
            await self._predictions.add(job.row, None, 0.0, self._owner_most)
            return
        self._jobs[job.row.id] = job  # its place, while it is written
        try:
            until = time.time() + LEASE_SECONDS
            await self._predictions.add(job.row, self.holder, until, self._owner_most)
        except BaseException:
            del self._jobs[job.row.id]
            raise
        self._start(job)

    def find(self, ident: str, owner: str) -> Job | None:
        """The prediction, while it is made here."""
        job = self._jobs.get(ident)
        return job if job is not None and job.row.owner == owner and not job.lost else None

    async def now(self, ident: str, owner: str) -> Object:
        """It as it is now. Refusal 404, 503."""
        job = self.find(ident, owner)
        if job is not None:
            return job.now
        row = await self._predictions.get(ident, owner)
        if row is None:
            raise objects.unknown(ident)
        return objects.stored(row)

    async def cancel(self, ident: str, owner: str) -> Object:
        """End it, wherever it is made; one that has ended stays as it is. Refusal 404, 503."""
        row = await self._predictions.get(ident, owner)
        if row is None:
            raise objects.unknown(ident)
        job = self.find(ident, owner)
        now = job.now if job is not None else objects.stored(row)
        if objects.is_ended(now):
            return now
        job = job or anew(row)
        canceled = objects.ended(now, CANCELED, time.time())
        if await self._predictions.end(job.kept(canceled), job.teller.ended(now, canceled, time.time())):
            self._lose(job)
            return canceled
        return await self.now(ident, owner)

    async def wait(self, ident: str, owner: str, seconds: float) -> Object:
        """It once it has ended, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not objects.is_ended(now := await self.now(ident, owner)):
                    await self.changed(ident, owner, CLAIM_SECONDS / 2)
                return now
        return await self.now(ident, owner)

    async def changed(self, ident: str, owner: str, seconds: float) -> None:
        """Until there is more to tell of it, as far as this router knows, or for so long."""
        job = self.find(ident, owner)
        await _unless(job.changed if job is not None else asyncio.Event(), seconds)

    # ------------------------------------------------------------------ beside requests

    async def run(self, ready: Callable[[], bool]) -> None:
        """Until `drain`: renew what is held, and while `ready` (the models are known) take what is free."""
        renewed = 0.0
        try:
            while not self._stopping or self._jobs:
                self._stirred.clear()
                with contextlib.suppress(Refusal):  # the store has said why
                    if time.monotonic() - renewed >= RENEW_SECONDS:
                        await self._renew()
                        renewed = time.monotonic()
                    if ready() and not self._stopping:
                        await self._claim()
                await _unless(self._stirred, CLAIM_SECONDS)
        finally:
            self._over.set()

    async def drain(self, seconds: float) -> None:
        """Finish what can be finished in time; the rest is anybody's."""
        self._stopping = True
        self._stirred.set()
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for job in self._jobs.values():
                job.lost = True
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)
            with contextlib.suppress(Refusal):  # they are free when their leases end
                await self._predictions.release(self.holder)
        self._stirred.set()
        await self._over.wait()

    async def _renew(self) -> None:
        # those that were begun before the look: the row of one that is just being added may not be there yet
        held = [job for job in self._jobs.values() if job.task is not None]
        if not held:
            return
        mine = await self._predictions.renew(self.holder, time.time() + LEASE_SECONDS)
        for job in held:
            if mine.get(job.row.id) != job.row.token and job.final is None:
                self._lose(job)

    async def _claim(self) -> None:
        room = self._most - len(self._jobs)
        if room <= 0:
            return
        now = time.time()
        for row in await self._predictions.claim(self.holder, now, now + LEASE_SECONDS, room):
            job = anew(row)
            self._jobs[row.id] = job
            self._start(job)

    # ------------------------------------------------------------------ one of them

    def _start(self, job: Job) -> None:
        job.task = asyncio.create_task(self._run(job))
        job.task.add_done_callback(lambda _: self._gone(job))

    def _gone(self, job: Job) -> None:
        if self._jobs.get(job.row.id) is job:
            del self._jobs[job.row.id]
        job.stir()
        self._stirred.set()

    def _lose(self, job: Job) -> None:
        """It is somebody else's, or has ended: the engine's call ends."""
        job.lost = True
        job.stir()
        if job.task is not None:
            job.task.cancel()

    async def _run(self, job: Job) -> None:
        keeping = asyncio.create_task(self._keep_on(job))
        try:
            await self._made(job)
        except asyncio.CancelledError:
            job.lost = True
        # what it keeps must not come after what became of it, and no statement is cut in the middle
        job.made.set()
        job.stir()
        await asyncio.wait([keeping])
        if not job.lost:
            await self._end(job)

    async def _made(self, job: Job) -> None:
        try:
            if job.row.token > MOST_BEGINNINGS:
                text = f"It was begun {MOST_BEGINNINGS} times, and each time the router that made it was gone."
                raise Refusal(502, text)
            await self._maker.make(job)
        except Refusal as refusal:
            job.end(FAILED, refusal.message)
        except TimeoutError:
            job.end(FAILED, f"It was not complete within {self._run_seconds:.0f} s.")
        except Exception:
            log.exception("a prediction failed", id=job.row.id)
            job.end(FAILED, "The router failed on this prediction: its log says why.")

    async def _keep_on(self, job: Job) -> None:
        """Keep what is new, now and then, and tell receivers, until no more will come."""
        kept = -KEEP_SECONDS
        changed = job.changed
        while not (job.made.is_set() or job.lost):
            await changed.wait()
            changed = job.changed  # before the look: what comes after it is another change
            if job.now["status"] != PROCESSING or job.made.is_set():
                continue
            pause = job.teller.pause(job.now, time.time())
            quiet = max(0.0, kept + KEEP_SECONDS - time.monotonic())
            await _unless(job.made, quiet if pause is None else min(pause, quiet))
            now = job.now
            job.teller.went_on(now, time.time())
            try:
                if not await self._predictions.keep(job.kept(now), job.teller.owed):
                    self._lose(job)
                    return
                job.teller.owed = []
            except Refusal as refusal:
                log.warning("a prediction could not be kept", id=job.row.id, why=refusal.message)
            kept = time.monotonic()

    async def _end(self, job: Job) -> None:
        """Keep what became of it, however long the store is away: as long as it is ours. Then everybody may know."""
        assert job.final is not None  # noqa: S101 - it was made
        row, owed = job.kept(job.final), job.teller.ended(job.now, job.final, time.time())
        ends = time.monotonic() + self._run_seconds
        while time.monotonic() < ends:
            try:
                job.lost = not await self._predictions.keep(row, owed)
                break
            except Refusal as refusal:
                log.warning("a prediction could not be kept", id=job.row.id, why=refusal.message)
            await asyncio.sleep(AGAIN_SECONDS)
        if not job.lost:
            job.prediction = job.final
        job.stir()


async def _unless(event: asyncio.Event, seconds: float) -> None:
    """Wait for so long, but not beyond `event`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
