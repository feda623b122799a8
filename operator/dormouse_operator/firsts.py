"""When streams that waited for a wake had their first token, as routers tell it. Knows nothing of how they are asked.

Routers say how long ago it was, so that their clocks need not agree with this one's.
"""

from collections.abc import Iterable

from dormouse_api import demand as wire
from dormouse_operator.queue import Key

SAME_SECONDS = 3.0
"""Two moments no further apart are one that was told of twice."""
KEPT_SECONDS = 120.0
"""Longer than it takes until the start is in the model's status."""


class Firsts:
    """The latest first token of each model. Times in seconds since the epoch."""

    def __init__(self) -> None:
        self._known: dict[Key, float] = {}

    def take(self, now: float, answers: Iterable[wire.Demand]) -> set[Key]:
        """What all routers said at `now`; the models of which something is new."""
        heard: dict[Key, float] = {}
        for answer in answers:
            for name, model in answer.models.items():
                if model.first_token_ago_seconds is not None:
                    namespace, _, plain = name.partition("/")
                    key, at = Key(namespace, plain), now - model.first_token_ago_seconds
                    # of one wake, the earliest router's; a later wake is further away than that
                    heard[key] = min(at, heard.get(key, at))
        self._known = {key: at for key, at in self._known.items() if at > now - KEPT_SECONDS}
        fresh = {key for key, at in heard.items() if at > self._known.get(key, 0.0) + SAME_SECONDS}
        self._known |= {key: heard[key] for key in fresh}
        return fresh

    def of(self, key: Key) -> float | None:
        """The model's, if one was told of lately."""
        return self._known.get(key)
