"""Holding a call while its model wakes: until an engine is ready, the cause of a failure is known, or time is up.

State is read anew at every event and never remembered, so a held call knows of a failure, a deletion or a
ready engine as soon as the catalogue does. Bounded per model in calls and seconds, and in bytes over all models.
"""

import asyncio
import time
from collections.abc import Callable

from dormouse_api.conditions import Reason
from dormouse_router.catalog.catalog import Catalog, Endpoint, Entry
from dormouse_router.catalog.record import Record
from dormouse_router.dataplane import adapting, low
from dormouse_router.dataplane.adapting import waits
from dormouse_router.dataplane.balance import Balancer, back_at
from dormouse_router.dataplane.estimate import SHORTEST, Moment, remaining, retry_after
from dormouse_router.dataplane.health import FIRST_SECONDS, REACH_SECONDS, unreachable
from dormouse_router.dataplane.lane import Lane
from dormouse_router.gateway import Call, Waiting
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings

UNHEARD = "The operator has not begun to start it: see that its Deployment runs, then try again."


def gone(name: str) -> Refusal:
    """The refusal of a call whose model was deleted while it was held."""
    text = f"The model '{name}' was deleted while this request waited for it."
    return Refusal(404, text, code="model_not_found", param="model")


def failed(record: Record) -> Refusal:
    """The refusal of a call that no waiting would help, with the cause."""
    return Refusal(
        503,
        f"The model '{record.name}' cannot be served: {record.message} ({record.reason})",
        code=record.reason,
        retry_after=None if record.permanent else retry_after(remaining(record, Moment(time.time()))),
        should_retry=False if record.permanent else None,
    )


def full(record: Record, waiting: int, left: float | None) -> Refusal:
    """The refusal of one call too many for a model that wakes."""
    text = (
        f"The model '{record.name}' is waking and {waiting} requests wait for it already: "
        "try again later, or raise spec.scaling.maxHeld."
    )
    return Refusal(429, text, code="rate_limit_exceeded", retry_after=retry_after(left))


def crowded(record: Record, waiting: int) -> Refusal:
    """The refusal of one call too many for a model whose engines are there and cannot be reached."""
    text = (
        f"The engines of '{record.name}' could not be reached a moment ago and {waiting} requests wait for them "
        "already: try again, or raise spec.scaling.maxHeld."
    )
    return Refusal(429, text, code="rate_limit_exceeded", retry_after=FIRST_SECONDS)


def too_many_bytes(record: Record, left: float | None) -> Refusal:
    """The refusal of a body that finds no room."""
    text = f"The model '{record.name}' is waking and the requests that wait fill the router's memory: try again later."
    return Refusal(429, text, code="rate_limit_exceeded", retry_after=retry_after(left))


def late(record: Record, waited: float, left: float | None) -> Refusal:
    """The refusal of a call that waited for as long as it may, or as it wants to."""
    text = (
        f"The model '{record.name}' did not wake within {waited:.0f} s ({record.stage}: {record.message}) "
        f"{'The wake goes on: try again later.' if record.reason != Reason.SCALED_TO_ZERO else UNHEARD}"
    )
    return Refusal(503, text, code="model_loading", retry_after=retry_after(left))


def unheld(record: Record, left: float | None) -> Refusal:
    """The refusal of a call that does not want to be held at all."""
    text = f"The model '{record.name}' is waking ({record.stage}) and this request asked not to wait: try again later."
    return Refusal(503, text, code="model_loading", retry_after=retry_after(left))


def outcome(entry: Entry | None, call: Call, balancer: Balancer, now: float) -> Endpoint | Refusal | None:
    """What a held call comes to now: an endpoint, a refusal, or None: wait. Pure. Raises Refusal for its adapter."""
    if entry is None or entry.record.deleting:
        return gone(call.record.name)
    endpoint = None if waits(entry.record, call.record) else balancer.choose(entry.endpoints, call, now)
    if endpoint is not None:
        return endpoint
    return failed(entry.record) if entry.record.failed and not entry.endpoints else None


def longest(call: Call, record: Record) -> float:
    """Most seconds the call is held: what the model allows, or less where the caller wants less. One that yields to
    others says itself, for nobody waits at its other end."""
    if call.low:
        return call.hold or 0.0
    allowed = float(record.spec.scaling.hold_seconds)
    return allowed if call.hold is None else min(allowed, call.hold)


class Hold:
    """All calls held by this router."""

    def __init__(
        self,
        catalog: Catalog,
        clock: Callable[[], float],
        wall: Callable[[], float],
        wake: Callable[[Lane, Entry], None],
        settings: Settings,
    ) -> None:
        """`clock` is the lanes' monotonic time, `wall` the time of day that the stages of a start are stamped with.
        `wake` begins the model's wake unless it is under way; it is asked at every turn of every wait.
        """
        self._catalog, self._clock, self._wall, self._wake = catalog, clock, wall, wake
        self._max_bytes = settings.held_bytes
        self._after, self._every = settings.comment_after, settings.comment_every
        self.bytes = 0

    def admit(self, lane: Lane, record: Record, size: int) -> None:
        """Raises Refusal 429 when one more call of `size` bytes may not be held."""
        waiting = len(lane.held)
        if waiting >= record.spec.scaling.max_held:
            entry = self._catalog.get(record.key)
            away = entry is not None and entry.endpoints
            raise crowded(record, waiting) if away else full(record, waiting, self._left(lane, record))
        if self.bytes + size > self._max_bytes:
            raise too_many_bytes(record, self._left(lane, record))

    async def wait(self, lane: Lane, call: Call, since: float) -> Endpoint:
        """Hold `call`, which came at `since`, until its model can answer. Raises Refusal."""
        size = len(call.body)
        if call.low:
            low.admit(lane, call, self._left(lane, call.record))
        if longest(call, call.record) > 0:
            self.admit(lane, call.record, size)
        ticket = object()
        if call.low:
            lane.low = ticket
        lane.held[ticket] = since
        lane.held_bytes += size
        self.bytes += size
        ending = "left"
        try:
            endpoint = await self._until_ready(lane, call, since)
            ending = "awake"
        except Refusal:
            ending = "refused"
            raise
        else:
            return endpoint
        finally:
            del lane.held[ticket]
            if lane.low is ticket:
                lane.low = None
            lane.held_bytes -= size
            self.bytes -= size
            lane.stats.held(ending, self._clock() - since)

    async def _until_ready(self, lane: Lane, call: Call, since: float) -> Endpoint:
        record = call.record
        tell_at = since + self._after
        reach_until: float | None = None
        while True:
            now = self._clock()
            entry = self._catalog.get(record.key)
            if entry is not None:
                record = entry.record
            found = outcome(entry, call, lane.balancer, now)
            if isinstance(found, Refusal):
                raise found
            if found is not None:
                return found
            if entry is not None and not entry.endpoints:
                reach_until = None
                self._wake(lane, entry)
            elif entry is not None and waits(entry.record, call.record):
                reach_until = None
            elif reach_until is None:  # engines are ready, says the cluster, and none can be reached
                reach_until = now + REACH_SECONDS
            elif now >= reach_until:
                raise unreachable(record.name, f"no connection for {REACH_SECONDS:.0f} s")
            give_up = since + longest(call, record)
            if now >= give_up:
                if reach_until is not None:
                    raise unreachable(record.name, f"no connection for {now - since:.0f} s")
                raise self._given_up(lane, call, record, now - since)
            if call.waiting is not None and now >= tell_at:
                tell_at = now + self._every
                await call.waiting(Waiting(record, record.stage, now - since, self._left(lane, record)))
                continue
            until = give_up if call.waiting is None else min(give_up, tell_at)
            back = back_at(entry.endpoints) if entry is not None else None
            await self._changed(record, (until if back is None else min(until, back)) - now)

    def _given_up(self, lane: Lane, call: Call, record: Record, waited: float) -> Refusal:
        """Why a call is held no longer that no endpoint came for."""
        if waits(record, call.record):
            return adapting.late(record, call.record, waited)
        left = self._left(lane, record)
        return late(record, waited, left) if longest(call, record) > 0 else unheld(record, left)

    def _left(self, lane: Lane, record: Record) -> float | None:
        """Seconds the wake still takes: estimated once a second for all the calls that wait."""
        now = self._clock()
        if lane.estimate is None or lane.estimate[0] is not record or now >= lane.estimate[1] + 1.0:
            lane.estimate = (record, now, remaining(record, Moment(self._wall(), lane.elapsed(now))))
        _, at, left = lane.estimate
        return None if left is None else max(SHORTEST, left - (now - at))

    async def _changed(self, record: Record, seconds: float) -> None:
        future = self._catalog.changed(record.key)
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await future
        except TimeoutError:
            pass
