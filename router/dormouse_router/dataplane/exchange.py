"""One call from its arrival to the end of its answer: held if its model sleeps, sent to an engine, counted.

A call whose model is awake, with a kept connection, is sent `at_once` and told of by callbacks; every other one, and
one whose kept connection turned out to be stale, is entered as a context by a task.

Owns what may be tried again: until an engine's first byte a call may move to another engine, or back into the hold;
after it, never. Where engines are and what keeps a model awake is the plane's.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import structlog

from dormouse_router.accounting.entries import Ended
from dormouse_router.caller import current
from dormouse_router.catalog.catalog import Catalog, Endpoint
from dormouse_router.dataplane import health
from dormouse_router.dataplane.calls import ended, head, took
from dormouse_router.dataplane.connection import Answer, Connection, Unreachable
from dormouse_router.dataplane.hold import Hold
from dormouse_router.dataplane.lane import Lane
from dormouse_router.dataplane.upstream import Pool
from dormouse_router.dataplane.usage import NOTHING, Tokens
from dormouse_router.gateway import Call
from dormouse_router.request import Headers, Refusal

log = structlog.get_logger()
LOST_REQUESTS = 2
"""Engines that may take a request and die before their first byte: more, and it is the request that kills them."""


class Plane(Protocol):
    """What an exchange needs of `plane.DataPlane`."""

    catalog: Catalog
    pool: Pool
    hold: Hold

    def clock(self) -> float: ...

    def choose(self, lane: Lane, call: Call, now: float) -> Endpoint | None: ...

    def finish(self, lane: Lane, call: Call, now: float) -> None: ...

    def forget(self, lane: Lane) -> None: ...

    def book(self, ended: Ended) -> None: ...


class Exchange:
    """One call (`gateway.Opening`, and its `Upstream`): an engine's answer is at hand, and counted in flight."""

    __slots__ = (
        "_answer",
        "_call",
        "_changed",
        "_connection",
        "_endpoint",
        "_first",
        "_lane",
        "_plane",
        "_since",
        "_tokens",
        "_who",
        "hold_seconds",
        "record",
    )

    def __init__(self, plane: Plane, lane: Lane, call: Call) -> None:
        self._plane, self._lane, self._call = plane, lane, call
        self._since = self._first = 0.0
        self._tokens = NOTHING
        self._who = current()
        self._endpoint: Endpoint | None = None
        self._connection: Connection | None = None
        self._answer: Answer | None = None
        self._changed: Callable[[], None] | None = None
        self.hold_seconds = 0.0
        self.record = call.record

    # ------------------------------------------------------------------ gateway.Opening

    @property
    def upstream(self) -> "Exchange":
        return self

    def at_once(self, changed: Callable[[], None]) -> bool:
        plane = self._plane
        self._since = now = plane.clock()
        try:
            endpoint = plane.choose(self._lane, self._call, now)
        except Refusal as refusal:
            self._ended(refusal)
            raise
        if endpoint is None or endpoint.failures:
            return False
        connection = plane.pool.take(endpoint.host, endpoint.port, now)
        if connection is None:
            return False
        self._changed = changed
        self._count_in(endpoint)
        self._send(connection, endpoint).watch(self._first_news)
        return True

    def close(self, error: BaseException | None = None) -> None:
        if self._answer is not None:
            self._answer.watch(None)
        self._changed = None
        self._ended(error)

    async def __aenter__(self) -> "Exchange":
        plane = self._plane
        stale = self._answer.error if self._answer is not None else None
        if stale is None:
            self._since = plane.clock()
        try:
            if isinstance(stale, Unreachable):
                await self._try_again(stale)
            else:
                endpoint = plane.choose(self._lane, self._call, self._since) or await self._hold()
                try:
                    await self._try(endpoint)
                except Unreachable as error:
                    await self._try_again(error)
        except BaseException as error:
            self._ended(error)
            raise
        if self.hold_seconds:
            self._learn()
        self._lane.stats.first_byte.observe(plane.clock() - self._since)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended(error)

    # ------------------------------------------------------------------ gateway.Upstream

    @property
    def status(self) -> int:
        return self._answer.status if self._answer is not None else 0

    @property
    def headers(self) -> Headers:
        return self.chunks.headers

    @property
    def pace(self) -> float | None:
        return self._lane.paced_at(self._plane.clock())

    @property
    def chunks(self) -> Answer:
        assert self._answer is not None  # noqa: S101 - only inside the context
        return self._answer

    flow = chunks

    async def body(self) -> bytes:
        return await self.chunks.body()

    # ------------------------------------------------------------------ inside

    async def _try_again(self, error: Unreachable) -> None:
        """After an engine that could not be reached: another, or the same once more, or whoever comes next."""
        plane, call = self._plane, self._call
        give_up, lost = plane.clock() + health.REACH_SECONDS, 0
        while True:
            kept = self._connection is not None and self._connection.reused
            lost += error.sent and not kept
            self._release(plane.clock())
            if lost >= LOST_REQUESTS or plane.clock() > give_up:
                raise health.unreachable(call.record.name, str(error)) from error
            endpoint = plane.choose(self._lane, call, plane.clock()) or await self._hold()
            try:
                await self._try(endpoint)
            except Unreachable as again:
                error = again
            else:
                return

    async def _hold(self) -> Endpoint:
        plane = self._plane
        asked = plane.clock()
        endpoint = await plane.hold.wait(self._lane, self._call, self._since)
        self.hold_seconds += plane.clock() - asked
        return endpoint

    def _learn(self) -> None:
        """What was not known before the wake: the commit, the engine. The operator may tell it after the endpoint."""
        entry = self._plane.catalog.get(self._lane.key)
        if entry is not None:
            adapter = self._call.record.adapter
            self.record = entry.record if adapter is None else replace(entry.record, adapter=adapter)

    async def _try(self, endpoint: Endpoint) -> None:
        self._count_in(endpoint)
        pool = self._plane.pool
        kept = pool.take(endpoint.host, endpoint.port, self._plane.clock())
        try:
            connection = kept or await pool.connect(endpoint.host, endpoint.port)
            await self._send(connection, endpoint).head()
        except Unreachable as error:
            pool.forget(endpoint.host, endpoint.port)  # the next one is made anew, and so tells whether it is there
            if kept is None:  # a stale kept connection says nothing about the engine
                self._failed(endpoint, error)
            raise
        if endpoint.failures:
            health.answered(endpoint)
            self._plane.catalog.stir(self._lane.key)

    def _failed(self, endpoint: Endpoint, error: Unreachable) -> None:
        now = self._plane.clock()
        if health.failed(endpoint, now):
            self._lane.stats.passed_over += 1
            pause = endpoint.avoid_until - now
            log.warning("an engine is passed over", model=self.record.full_name, seconds=pause, error=str(error))

    def _count_in(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        endpoint.in_flight += 1
        self._lane.in_flight += 1
        if endpoint.failures:
            health.tried(endpoint, self._plane.clock())

    def _send(self, connection: Connection, endpoint: Endpoint) -> Answer:
        self._connection = connection
        self._answer = answer = connection.send(head(self._call, endpoint), self._call.body)
        if self._call.stream:
            answer.first = self._first_token
        return answer

    def _first_token(self) -> None:
        """A call is being answered: engines send a stream's first event with its first token."""
        answer = self.chunks
        answer.first = None
        if answer.status == 200 and answer.events:
            self._first = now = self._plane.clock()
            self._lane.stats.first_token.observe(now - self._since)
            if self.hold_seconds:
                self._lane.answered(now)

    def _first_news(self) -> None:
        """The first that is heard of a call that was sent at once."""
        endpoint, answer, changed = self._endpoint, self._answer, self._changed
        assert endpoint and answer and changed  # noqa: S101, PT018 - `at_once` set them
        if answer.started:
            self._lane.stats.first_byte.observe(self._plane.clock() - self._since)
            answer.watch(changed)
        elif answer.error is not None:
            self._plane.pool.forget(endpoint.host, endpoint.port)
        else:
            return  # an interim answer, or half a head
        changed()

    def _release(self, now: float) -> None:
        endpoint, connection = self._endpoint, self._connection
        if endpoint is not None:
            endpoint.in_flight -= 1
            self._lane.in_flight -= 1
            if connection is not None:
                self._plane.pool.give_back(endpoint.host, endpoint.port, connection, now)
            if endpoint.gone:
                self._plane.pool.forget(endpoint.host, endpoint.port)
        self._endpoint = self._connection = None

    def _count(self, answer: Answer, now: float) -> Tokens:
        """What the call took, however it ended: of an answer that was given up, what the engine had said until then."""
        call = self._call
        tokens = took(call, (*answer.taken, *answer.parts), answer.pieces if self._first else 0)
        if tokens is not NOTHING:
            self._lane.spent(tokens, None if call.low else now - self._since - self.hold_seconds, now)
            if call.spend is not None:
                call.spend(tokens.prompt + tokens.completion)
        return tokens

    def _ended(self, error: BaseException | None) -> None:
        reached, answer = self._endpoint is not None, self._answer
        status = answer.status if answer is not None and reached else 0
        now, stats = self._plane.clock(), self._lane.stats
        if answer is not None and 0 < status < 400:  # what an engine refused took nothing
            self._tokens = self._count(answer, now)
        if self._first and self.chunks.complete:
            stats.streamed(self._tokens.completion, now - self._first)
        self._release(now)
        if isinstance(error, Refusal):
            status = error.status
            stats.refuse(error.code or str(status))
        elif error is not None:
            status = 499 if isinstance(error, asyncio.CancelledError) else 502
        stats.answered(self._call.dialect, status, now - self._since)
        times = (self._since, self._first, now, self.hold_seconds)
        self._plane.book(ended(self._call, self._who, status, times, self._tokens))
        if reached:
            self._plane.finish(self._lane, self._call, now)
        else:
            self._plane.forget(self._lane)
