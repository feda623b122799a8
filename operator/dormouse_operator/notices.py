"""Reads the Events of what is stuck, few and seldom enough for any cluster. Knows nothing of what they mean."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from dormouse_operator import reading
from dormouse_operator.decide import notices as rules
from dormouse_operator.observed import Notice, Observed

PER_SECOND = 10.0
"""Readings a second of the whole operator: beyond it, what was read last counts."""
REMEMBERED = 2000
KEPT = 20
"""Notices of one object."""


class Lister(Protocol):
    """The part of `kube.Kube` that reads Events."""

    async def notices(self, namespace: str, uid: str) -> list[dict[str, Any]]: ...


class Notices:
    """One per process: what was read last, and how much may be read."""

    def __init__(self, api: Lister, clock: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, tuple[Notice, ...]]] = OrderedDict()
        self._budget = PER_SECOND
        self._filled = clock()

    async def add(self, o: Observed, now: float) -> Observed:
        """`o` with the notices of what is stuck in it."""
        ages = {uid: now - since for uid, since in rules.stuck(o).items()}
        found = {
            uid: await self._of(o.model.namespace, uid, age) for uid, age in ages.items() if age >= rules.FIRST_SECONDS
        }
        if not any(found.values()):
            return o
        return replace(
            o,
            pods=tuple(replace(pod, notices=found.get(pod.uid, ())) for pod in o.pods),
            jobs=tuple(replace(job, notices=found.get(job.uid, ())) for job in o.jobs) if o.jobs is not None else None,
            claim=replace(o.claim, notices=found.get(o.claim.uid, ())) if o.claim is not None else None,
        )

    async def _of(self, namespace: str, uid: str, age: float) -> tuple[Notice, ...]:
        at, known = self._known.get(uid, (float("-inf"), ()))
        # a little less than the pause, or a look that comes a moment early would see nothing new
        if self._clock() - at < 0.9 * rules.pause(age) or not self._may():
            return known
        raw = await self._api.notices(namespace, uid)
        notices = sorted((reading.read_notice(each) for each in raw), key=lambda notice: notice.at)
        self._known[uid] = (self._clock(), tuple(notices[-KEPT:]))
        self._known.move_to_end(uid)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return self._known[uid][1]

    def _may(self) -> bool:
        now = self._clock()
        self._budget = min(PER_SECOND, self._budget + (now - self._filled) * PER_SECOND)
        self._filled = now
        if self._budget < 1:
            return False
        self._budget -= 1
        return True
