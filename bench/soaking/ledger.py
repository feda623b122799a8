"""What happened to whom: outcomes of the clients, faults of the engines, troubles of the models, and what excuses what.

An answer may fail only where something failed: the engine that had it, its model being away meanwhile, or every engine
of its model having lost a connection just before, for then the router lets one call at a time look who is back.
Anything else is unexplained, and one such answer fails the soak.
"""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence

from dormouse_router.dataplane.health import FIRST_SECONDS, PROBE_SECONDS

EXAMPLES = 20
MEMORY_SECONDS = 120.0
"""Troubles older than any request are forgotten."""
CLOSED_SECONDS = FIRST_SECONDS + PROBE_SECONDS + 0.2
"""How long an engine that lost a connection may be kept from the calls of that model, and the load's own delay."""


class Ledger:
    """One per soak. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.unexplained: list[str] = []
        self.unexplained_count = 0
        self._faults: dict[int, list[str]] = defaultdict(list)
        self._troubles: dict[str, deque[tuple[float, float, str]]] = defaultdict(deque)
        self._open: dict[tuple[str, str], float] = {}
        self._lost: dict[tuple[str, int], float] = {}
        """By model and engine: when a connection was last lost before its answer began."""
        self.engines: Sequence[int] = ()
        """All of them, by their ports."""

    # ------------------------------------------------------------------ what engines and the cluster do

    def fault(self, number: int, what: str) -> None:
        """An engine failed the request with this number."""
        self._faults[number].append(what)

    def lost(self, model: str, engine: int) -> None:
        """The engine drops a connection of the model's before its answer begins, and takes new ones."""
        self._lost[model, engine] = time.monotonic()

    def begin_trouble(self, model: str, what: str) -> None:
        """From now on the model may be away."""
        self._open.setdefault((model, what), time.monotonic())

    def end_trouble(self, model: str, what: str) -> None:
        since = self._open.pop((model, what), None)
        now = time.monotonic()
        if since is not None:
            self._troubles[model].append((since, now, what))
        past = self._troubles[model]
        while past and past[0][1] < now - MEMORY_SECONDS:
            past.popleft()

    # ------------------------------------------------------------------ what clients saw

    def seen(self, outcome: str) -> None:
        """An outcome that is as it should be."""
        self.outcomes[outcome] += 1

    def failed(self, outcome: str, model: str, number: int, since: float, detail: str) -> None:
        """A request ended with an error its client could see: explained, or not."""
        excuses = [*self._faults.get(number, ()), *self._troubled(model, since)]
        if excuses:
            self.outcomes[outcome] += 1
        else:
            self.wrong(f"{outcome} without a cause", f"{model} {number}, {self._quiet(model, since)}: {detail}")

    def wrong(self, outcome: str, detail: str) -> None:
        """An outcome nothing excuses."""
        self.outcomes[outcome] += 1
        self.unexplained_count += 1
        if len(self.unexplained) < EXAMPLES:
            self.unexplained.append(f"{outcome}: {detail[:500]}")

    def forget(self, number: int) -> None:
        """The request is over."""
        self._faults.pop(number, None)

    def _quiet(self, model: str, since: float) -> str:
        """How long the model had had no trouble when the request began: what to look at first."""
        if not self._troubles[model]:
            return "the model never had trouble"
        _, end, what = self._troubles[model][-1]
        return f"begun {since - end:.1f} s after '{what}' was over"

    def _troubled(self, model: str, since: float) -> Iterator[str]:
        for _, end, what in self._troubles[model]:
            if end >= since:
                yield what
        for name, what in self._open:
            if name == model:
                yield what
        closed = since - CLOSED_SECONDS
        if self.engines and all(self._lost.get((model, engine), -1.0) >= closed for engine in self.engines):
            yield "every engine lost a connection"
