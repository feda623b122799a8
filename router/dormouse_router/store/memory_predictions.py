"""Predictions and webhooks in this process alone: gone when it ends, bounded by how many an owner may have and by age.

Nothing here waits, so nothing comes in between.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from dormouse_router.notifying import PASSING, Delivery, Event, Keys, new_secret
from dormouse_router.predicting import ENDED, Place, StoredPrediction, fitting, too_many

T = TypeVar("T")
Clock = Callable[[], float]
MOST = 10_000
"""Predictions, deliveries, events and owners with secrets, of each; the oldest goes first."""


class MemoryWebhooks:
    """`notifying.Webhooks`."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._owed: dict[str, Delivery] = {}
        self._events: dict[str, Event] = {}
        self._keys: dict[str, Keys] = {}

    async def post(self, deliveries: Sequence[Delivery]) -> None:
        subjects = {delivery.subject for delivery in deliveries}
        for old in [*self._owed.values()]:
            if old.subject in subjects and old.kind in PASSING and not old.attempts:
                del self._owed[old.id]
        for delivery in deliveries:
            _put(self._owed, delivery.id, delivery, self._most)

    async def announce(self, event: Event) -> None:
        _put(self._events, event.id, event, self._most)

    async def spread(self, addressed: Callable[[Event], Sequence[Delivery]], most: int) -> int:
        events = [*self._events.values()][:most]
        for event in events:
            await self.post(addressed(self._events.pop(event.id)))
        return len(events)

    async def claim(
        self, now: float, until: float, most: int, hosts: Collection[str] = (), subjects: Collection[str] = ()
    ) -> list[Delivery]:
        live = [each for each in self._owed.values() if each.expires_at > now]
        self._owed = {each.id: each for each in live}
        due = [d for d in live if d.due_at <= now and d.host not in hosts and d.subject not in subjects]
        due.sort(key=lambda each: (each.due_at, each.created_at))
        claimed = [replace(each, due_at=until, attempts=each.attempts + 1) for each in due[:most]]
        self._owed |= {each.id: each for each in claimed}
        return claimed

    async def arrived(self, delivery: Delivery) -> None:
        if self._still(delivery):
            del self._owed[delivery.id]

    async def again(self, delivery: Delivery, at: float) -> None:
        if self._still(delivery):
            self._owed[delivery.id] = replace(delivery, due_at=at)

    async def keys(self, owner: str) -> Keys:
        if owner not in self._keys:
            _put(self._keys, owner, Keys(new_secret()), self._most)
        return self._keys[owner]

    async def rotate(self, owner: str, until: float) -> Keys:
        self._keys[owner] = (await self.keys(owner)).rotated(until)
        return self._keys[owner]

    def _still(self, delivery: Delivery) -> bool:
        found = self._owed.get(delivery.id)
        return found is not None and found.attempts == delivery.attempts


@dataclass(frozen=True, slots=True)
class _Held:
    prediction: StoredPrediction
    holder: str | None
    until: float | None
    """None: it has ended."""


class MemoryPredictions:
    """`predicting.Predictions`."""

    def __init__(self, webhooks: MemoryWebhooks, clock: Clock = time.time, most: int = MOST) -> None:
        self._webhooks, self._clock, self._most = webhooks, clock, most
        self._kept: dict[str, _Held] = {}

    async def add(self, prediction: StoredPrediction, holder: str | None, until: float, most: int) -> None:
        self._sweep()
        mine = [held for held in self._kept.values() if held.prediction.owner == prediction.owner]
        if sum(held.until is not None for held in mine) >= most:
            raise too_many(most)
        lease = 0.0 if holder is None else until
        _put(self._kept, prediction.id, _Held(prediction, holder, lease), self._most)

    async def get(self, id: str, owner: str) -> StoredPrediction | None:  # noqa: A002
        found = self._kept.get(id)
        if found is None or found.prediction.owner != owner or found.prediction.expires_at <= self._clock():
            return None
        return found.prediction

    async def page(self, owner: str, before: Place | None, limit: int) -> tuple[list[StoredPrediction], bool]:
        self._sweep()
        mine = [held.prediction for held in self._kept.values() if held.prediction.owner == owner]
        mine.sort(key=_place, reverse=True)
        older = [each for each in mine if before is None or _place(each) < before]
        shown = older[: fitting(len(each.body) for each in older[:limit])]
        return shown, len(shown) < len(older)

    async def claim(self, holder: str, now: float, until: float, most: int) -> list[StoredPrediction]:
        free = [held.prediction for held in self._kept.values() if held.until is not None and held.until <= now]
        claimed = [replace(each, token=each.token + 1) for each in sorted(free, key=_place)[:most]]
        self._kept |= {each.id: _Held(each, holder, until) for each in claimed}
        return claimed

    async def renew(self, holder: str, until: float) -> dict[str, int]:
        mine = {ident: held for ident, held in self._kept.items() if held.holder == holder}
        self._kept |= {ident: replace(held, until=until) for ident, held in mine.items()}
        return {ident: held.prediction.token for ident, held in mine.items()}

    async def keep(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        found = self._kept.get(prediction.id)
        if found is None or found.prediction.token != prediction.token:
            return False
        return await self.end(prediction, deliveries)

    async def end(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        found = self._kept.get(prediction.id)
        if found is None or found.until is None or found.prediction.owner != prediction.owner:
            return False
        now = replace(found.prediction, status=prediction.status, body=prediction.body)
        ended = prediction.status in ENDED
        self._kept[prediction.id] = _Held(now, None, None) if ended else replace(found, prediction=now)
        await self._webhooks.post(deliveries)
        return True

    async def release(self, holder: str) -> None:
        mine = {ident: held for ident, held in self._kept.items() if held.holder == holder}
        self._kept |= {ident: replace(held, holder=None, until=0.0) for ident, held in mine.items()}

    def _sweep(self) -> None:
        now = self._clock()
        self._kept = {ident: held for ident, held in self._kept.items() if held.prediction.expires_at > now}


def _place(prediction: StoredPrediction) -> Place:
    return prediction.created_at, prediction.id


def _put(kept: dict[str, T], key: str, value: T, most: int) -> None:
    kept[key] = value
    while len(kept) > most:
        del kept[next(iter(kept))]
