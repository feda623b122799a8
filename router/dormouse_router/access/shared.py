"""Limits that several routers keep together.

A request may be taken only from what was set aside for this router beforehand, a fortieth of the limit at a time: so
all routers together never let in more, waste at most a fortieth each, and ask the server once in so many requests; so
it is with requests at a time (`places`). Tokens, and the requests of a model, are known when it is too late to ask:
they are told twice a second, and at once when a hundredth of a limit is untold. While the server is away each router
counts for itself, so that nobody is kept out by it.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Protocol
from weakref import WeakKeyDictionary

import structlog

from dormouse_router.access.places import PART, Places
from dormouse_router.access.windows import MINUTE, REQUESTS, TOKENS, Meter, Meters, Window, lacking, too_busy
from dormouse_router.request import Refusal

log = structlog.get_logger()
LOOK_SECONDS = 0.1
TELL_EACH = 5
"""Looks."""
UNTOLD = 100
"""Of a limit of tokens: routers that tell of each other this late let in a few hundredths too many."""
AWAY_SECONDS = 5.0
_MODEL = "model:"


class Counts(Protocol):
    """Counters that all routers see."""

    async def add(self, amounts: dict[str, int]) -> list[int]:
        """Add to each, which may be 0; what each is then, in the same order. They last two minutes and a bit.
        Refusal 503 where they cannot be reached."""
        ...

    async def close(self) -> None: ...


class Shared:
    """One per router."""

    def __init__(self, counts: Counts, meters: Meters, clock: Callable[[], float] = time.time) -> None:
        self._counts, self._meters, self._clock = counts, meters, clock
        self._locks: WeakKeyDictionary[Meter, asyncio.Lock] = WeakKeyDictionary()
        self._away_until = 0.0
        self.places = Places(self._add, clock)
        self._pressed = asyncio.Event()

    async def set_aside(self, meters: tuple[Meter, ...]) -> None:
        """More for those of which too little is left; or they turn out to be used up. Refusal 429 for want of a
        place."""
        for meter in lacking(meters):
            async with self._locks.setdefault(meter, asyncio.Lock()):
                if self._wants(meter):  # whoever had the lock may have brought enough for us all, or found none
                    await self._more(meter)
                if meter.lacks_place and not await self.places.ask(meter):
                    raise too_busy(meters, meter, self._clock())

    async def tell(self) -> None:
        """Once: what others cannot know yet."""
        minute = int(self._clock()) // MINUTE
        due = [
            (f"{kind}:{minute}:{meter.name}", window)
            for meter in self._meters
            for kind, window in _told(meter)
            if window.used(minute) or meter.requests.used(minute)
        ]
        if not due:
            return
        news = {name: window.own - window.told for name, window in due}
        totals = await self._add(news)
        for (name, window), total in zip(due, totals, strict=False):
            if window.minute == minute:
                window.told += news[name]
                window.others = max(0, total - window.told)

    def spent(self, meters: Sequence[Meter]) -> None:
        """Tokens were counted on them."""
        if any(map(_pressing, meters)):
            self._pressed.set()

    async def run(self) -> None:
        """For ever."""
        for look in itertools.count(1):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._pressed.wait(), LOOK_SECONDS)
            if self._pressed.is_set() or look % TELL_EACH == 0:
                self._pressed.clear()
                await self.tell()
            await self.places.settle(self._meters)

    def _wants(self, meter: Meter) -> bool:
        minute = int(self._clock()) // MINUTE
        return meter.requests.used(minute) < (meter.limits.requests or 0) and meter.lacks_requests

    async def _more(self, meter: Meter) -> None:
        window, limit = meter.requests, meter.limits.requests or 0
        now = self._clock()
        minute, part = int(now) // MINUTE, max(1, limit // PART)
        window.used(minute)
        totals = await self._add({f"{REQUESTS}:{minute}:{meter.name}": part})
        if window.minute != minute:
            return
        if not totals:
            window.granted = limit  # nobody to ask: as if we were alone
            return
        before = totals[0] - part
        mine = min(part, max(0, limit - before))
        window.granted += mine
        # what is set aside for others is as good as used; used up is used up, also by parts that were too large
        window.others = limit - window.granted if before + part >= limit else before + part - window.granted

    async def _add(self, amounts: dict[str, int]) -> Sequence[int]:
        """Empty where the server is away."""
        if self._clock() < self._away_until:
            return ()
        try:
            return await self._counts.add(amounts)
        except Refusal:
            self._away_until = self._clock() + AWAY_SECONDS
            return ()


def _pressing(meter: Meter) -> bool:
    """Others must know soon: so many tokens were spent that they do not know of."""
    limit, window = meter.limits.tokens, meter.tokens
    return limit is not None and (window.own - window.told) * UNTOLD >= limit


def _told(meter: Meter) -> list[tuple[str, Window]]:
    found = [(TOKENS, meter.tokens)] if meter.limits.tokens is not None else []
    if meter.name.startswith(_MODEL) and meter.limits.requests is not None:
        found.append((REQUESTS, meter.requests))
    return found
