"""Requests at a time that several routers allow together: each has so many places of a limit, and lets in no more.

The places of all routers are added up on the server under the name of a minute and, ahead of it, of the next one. So
those of a router that died are free again within two minutes, and nobody has to notice its death.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from weakref import WeakKeyDictionary

from dormouse_router.access.windows import MINUTE, Meter

PART = 40
"""Of a limit: so much a router asks for at once, and keeps though nobody needs it now."""
FULL_SECONDS = 0.02
"""So long nobody asks again after there was none left."""
Add = Callable[[dict[str, int]], Awaitable[Sequence[int]]]


class Places:
    """One router's."""

    def __init__(self, add: Add, clock: Callable[[], float]) -> None:
        """`add`: as `shared.Counts.add`, but empty where the server is away."""
        self._add, self._clock = add, clock
        self._full: WeakKeyDictionary[Meter, float] = WeakKeyDictionary()

    async def ask(self, meter: Meter) -> bool:
        """Whether this router has more places of the meter now. One caller at a time."""
        loop = asyncio.get_running_loop()
        if self._full.get(meter, 0.0) > loop.time():
            return False
        # a caller that leaves meanwhile must not leave the server and us with different counts
        found = await asyncio.shield(loop.create_task(self._ask(meter)))
        if not found:
            self._full[meter] = loop.time() + FULL_SECONDS
        return found

    async def settle(self, meters: Iterable[Meter]) -> None:
        """Give back what nobody needs, and have what is held counted in the minute to come."""
        due = [meter for meter in meters if meter.limits.concurrent is not None or meter.told]
        for meter in due:
            spare = (meter.limits.concurrent or 0) // PART
            meter.held = min(meter.held, meter.running + spare)
        await self._tell(due)

    async def _ask(self, meter: Meter) -> bool:
        limit = meter.limits.concurrent or 0
        part = max(1, limit // PART)
        meter.asking += part
        try:
            totals = await self._tell((meter,))
        finally:
            meter.asking -= part
        if not totals:
            meter.held = limit  # nobody to ask: as if we were alone
            return True
        mine = min(part, max(0, limit - (totals[0] - part)))
        meter.held += mine
        if mine < part:
            await self._tell((meter,))
        return mine > 0

    async def _tell(self, meters: Iterable[Meter]) -> Sequence[int]:
        """Have the server count what these meters hold and ask for; its totals of what changed, the present first."""
        minute = int(self._clock()) // MINUTE
        owed = [(meter, at, amount) for meter in meters for at, amount in _owed(meter, minute)]
        if not owed:
            return ()
        totals = await self._add({f"concurrent:{at}:{meter.name}": amount for meter, at, amount in owed})
        if not totals:
            for meter, at, amount in owed:
                if at in meter.told:
                    meter.told[at] -= amount
        return totals


def _owed(meter: Meter, minute: int) -> list[tuple[int, int]]:
    """(minute, change) that the server does not know of; from now on it is taken to know."""
    wanted = meter.held + meter.asking
    minutes = (minute, minute + 1)
    owed = [(at, amount) for at in minutes if (amount := wanted - meter.told.get(at, 0))]
    meter.told = dict.fromkeys(minutes, wanted) if wanted else {}
    return owed
