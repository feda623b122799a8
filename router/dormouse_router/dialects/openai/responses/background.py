"""Answers made in the background: tasks of this router, bounded in number and time, and what they have said so far.

Each is kept from its first moment on and again every few seconds, so that any router can tell how it is, cancel it, or
see that the router which made it is gone.
"""

import asyncio
from collections.abc import AsyncIterator

import structlog

from dormouse_router.dialects.openai.responses import objects
from dormouse_router.dialects.openai.responses.answer import Stream
from dormouse_router.dialects.openai.responses.asking import Asking, ask
from dormouse_router.dialects.openai.responses.events import Events
from dormouse_router.dialects.openai.responses.kept import STALE_SECONDS, Keeper, Turn
from dormouse_router.dialects.openai.responses.objects import Object
from dormouse_router.dialects.openai.responses.translate import Plan
from dormouse_router.gateway import Gateway, Upstream
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

log = structlog.get_logger()
BEAT_SECONDS = STALE_SECONDS / 4
MOST_EVENTS = 16 * 1024 * 1024
"""Bytes of events kept of one answer for those who follow it."""
QUIET_SECONDS = 15.0
"""Proxies between us and a client may cut a stream that is silent for longer."""
COMMENT = b": it goes on\n\n"
_END = b"\n\n"


class Job:
    """One answer in the making."""

    def __init__(self, turn: Turn, plan: Plan) -> None:
        self.turn, self.plan = turn, plan
        self.response: Object = turn.base | {"status": "queued"}
        self.stream = Stream(plan, turn.base, turn.ids)
        self.answering = False
        """An engine has begun to answer: it is not asked again."""
        self.cancelled = False
        self.task: asyncio.Task[None] | None = None
        self._events: list[bytes] = []
        self._size = 0
        self._done = False
        self._changed = asyncio.Event()

    def say(self, out: bytes) -> None:
        """More events, whole ones."""
        if self.turn.wish.stream and out and self._size <= MOST_EVENTS:
            self._events += [event + _END for event in out.split(_END)[:-1]]
            self._size += len(out)
            self._wake()

    def end(self) -> None:
        """No more events."""
        self._done = True
        self._wake()

    @property
    def followed(self) -> bool:
        """Whether its events are kept for those who follow it."""
        return bool(self.turn.wish.stream) and self._size <= MOST_EVENTS

    async def events(self, first: int) -> AsyncIterator[bytes]:
        """The events from number `first` on, as they come, and a comment where none comes for long."""
        at = first
        while True:
            while at < len(self._events):
                yield self._events[at]
                at += 1
            if self._done and self.followed:
                return
            if not self.followed:
                yield _too_long(at)
                return
            try:
                await asyncio.wait_for(self._changed.wait(), QUIET_SECONDS)
            except TimeoutError:
                yield COMMENT

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _too_long(number: int) -> bytes:
    events = Events()
    events.number = number
    text = "The response is too long to be followed to its end: it goes on, and can be asked for without stream."
    return events("error", code="server_error", message=text, param=None)


class Background:
    """The answers that this router makes in the background."""

    def __init__(self, gateway: Gateway, keeper: Keeper, settings: Settings) -> None:
        self._gateway, self._keeper = gateway, keeper
        self._most, self._seconds = settings.background_most, settings.background_seconds
        self._jobs: dict[tuple[str, str], Job] = {}
        self._stopping = False

    async def begin(self, turn: Turn, plan: Plan, asked: Asking) -> Job:
        """Begin to make an answer; it is kept when this returns. Refusal 429 where too many are made, 503."""
        if self._stopping:
            text = "This router is stopping: send the request again, and another one takes it."
            raise Refusal(503, text, code="router_stopping", retry_after=1.0)
        if len(self._jobs) >= self._most:
            text = f"This router makes {self._most} responses in the background already: send it again later."
            raise Refusal(429, text, code="rate_limit_exceeded", retry_after=5.0)
        job = Job(turn, plan)
        key = (turn.owner, turn.base["id"])
        self._jobs[key] = job
        try:
            await self._keeper.put(turn, job.response)
        except BaseException:
            del self._jobs[key]
            raise
        job.task = asyncio.create_task(self._run(job, asked))
        job.task.add_done_callback(lambda _: self._jobs.pop(key, None))
        return job

    def find(self, ident: str, owner: str) -> Job | None:
        """The answer, while it is made here."""
        return self._jobs.get((owner, ident))

    async def cancel(self, job: Job) -> None:
        """End it now; returns when that is known to all."""
        job.cancelled = True
        if job.task is not None:
            job.task.cancel()
            await asyncio.wait([job.task])

    async def drain(self, seconds: float) -> None:
        """Finish what can be finished in time; the rest failed."""
        self._stopping = True
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run(self, job: Job, asked: Asking) -> None:
        beats = asyncio.create_task(self._beat(job))
        job.say(job.stream.begin())
        try:
            await self._make(job, asked)
        except asyncio.CancelledError:
            if not job.cancelled:
                self._fail(job, "The router that made this response was stopped: send the request again.")
        except Refusal as refusal:
            self._fail(job, refusal.message, objects.error_code(refusal.status))
        except TimeoutError:
            self._fail(job, f"The response was not complete within {self._seconds:.0f} s.")
        except Exception:
            log.exception("a response in the background failed", id=job.response["id"])
            self._fail(job, "The router failed on this response: its log says why.")
        finally:
            beats.cancel()
            await asyncio.wait([beats])  # what it keeps must not come after what became of it
            await self._end(job)

    async def _make(self, job: Job, asked: Asking) -> None:
        async def receive(upstream: Upstream) -> None:
            job.answering = True
            async for piece in upstream.chunks:
                job.say(job.stream.feed(piece))
            job.say(job.stream.close())

        job.response = job.turn.base
        async with asyncio.timeout(self._seconds):
            while True:
                try:
                    await ask(self._gateway, asked, job.plan, receive)
                    break
                except Refusal as refusal:
                    # nobody waits: a model that wakes slowly, or has too many callers, is asked again
                    if refusal.retry_after is None or refusal.should_retry is False or job.answering:
                        raise
                    await asyncio.sleep(refusal.retry_after)
        job.response = job.stream.became()

    def _fail(self, job: Job, message: str, code: str = "server_error") -> None:
        out, job.response = job.stream.broke(message, code)
        job.say(out)

    async def _end(self, job: Job) -> None:
        """Keep what became of it, unless somebody cancelled or deleted it elsewhere."""
        try:
            wanted = await self._keeper.wanted(job.turn)
            if job.cancelled or not wanted:
                job.response = objects.cancelled(job.turn.base)
            if wanted:
                await self._keeper.put(job.turn, job.response)
        except Refusal as refusal:
            log.error("a response in the background could not be kept", id=job.response["id"], why=refusal.message)
        job.say(job.stream.last(job.response))
        job.end()

    async def _beat(self, job: Job) -> None:
        """Say that it is still made, and hear whether it is still wanted."""
        while True:
            try:
                if not await self._keeper.wanted(job.turn):
                    break
                await self._keeper.put(job.turn, job.response)
            except Refusal as refusal:
                log.warning("the store cannot be reached", id=job.response["id"], why=refusal.message)
            await asyncio.sleep(BEAT_SECONDS)
        job.cancelled = True
        if job.task is not None:
            job.task.cancel()
