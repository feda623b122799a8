"""How long each model has been called and its callers held, added up poll by poll. Knows nothing of how they are asked.

What has been written into a status is taken off again; what has not is lost with the process.
"""

from collections.abc import Iterable

from dormouse_api import demand as wire
from dormouse_operator.observed import Tally
from dormouse_operator.queue import Key

LONGEST_STEP = 10.0
"""Seconds that one poll may stand for: what was longer ago nobody has seen."""
NOTHING = Tally()


class Tallies:
    """Moments are seconds of any steady clock."""

    def __init__(self) -> None:
        self._last: float | None = None
        self._known: dict[Key, Tally] = {}

    def take(self, now: float, answers: Iterable[wire.Demand]) -> None:
        """What all routers said at `now`."""
        step = 0.0 if self._last is None else min(LONGEST_STEP, max(0.0, now - self._last))
        self._last = now
        busy: set[Key] = set()
        held: dict[Key, int] = {}
        for answer in answers:
            for name, model in answer.models.items():
                namespace, _, plain = name.partition("/")
                key = Key(namespace, plain)
                held[key] = held.get(key, 0) + model.held
                if model.in_flight:
                    busy.add(key)
        for key, waiting in held.items():
            known = self._known.get(key, NOTHING)
            self._known[key] = Tally(known.busy + step * (key in busy), known.waited + step * waiting)

    def of(self, key: Key) -> Tally:
        """What has been added up since it was last settled."""
        return self._known.get(key, NOTHING)

    def settled(self, key: Key, written: Tally) -> None:
        """The whole seconds of `written` are in the model's status."""
        known = self.of(key)
        self._known[key] = Tally(known.busy - int(written.busy), known.waited - int(written.waited))

    def forget(self, key: Key) -> None:
        """The model is gone."""
        self._known.pop(key, None)
