"""What all routers said last of each model's calls: enough to know that none runs. Knows nothing of how they are asked.

Only a poll that every router answered tells that: one that is silent may have the very call that must not be cut.
"""

from collections import Counter
from collections.abc import Iterable

from dormouse_api import demand as wire
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.queue import Key

STALE_SECONDS = 10.0
"""What was said longer ago tells nothing of now."""
REMEMBERED_SECONDS = 600.0


class Heard:
    """The last whole poll. Times in seconds since the epoch."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._at = 0.0
        self._in_flight: Counter[Key] = Counter()
        self._held: Counter[Key] = Counter()
        self._busy: dict[Key, float] = {}

    def take(self, at: float, answers: Iterable[wire.Demand], *, whole: bool) -> None:
        """One poll, begun at `at`; `whole`: every router there is has answered."""
        in_flight, held = Counter[Key](), Counter[Key]()
        for answer in answers:
            for name, model in answer.models.items():
                namespace, _, plain = name.partition("/")
                in_flight[Key(namespace, plain)] += model.in_flight
                held[Key(namespace, plain)] += model.held
                if model.in_flight or model.held:
                    self._busy[Key(namespace, plain)] = at
        if not whole:
            return
        self._first = at if self._first is None else self._first
        self._at, self._in_flight, self._held = at, in_flight, held
        self._busy = {key: last for key, last in self._busy.items() if last > at - REMEMBERED_SECONDS}

    def of(self, key: Key, now: float) -> Traffic | None:
        """The model's calls; None where not every router has told lately."""
        if self._first is None or now > self._at + STALE_SECONDS:
            return None
        last = max(self._first, self._busy.get(key, self._first))
        return Traffic(self._at, self._in_flight[key], self._held[key], max(0.0, now - last))
