"""Whether batches will be done when their windows end, by how fast lines were answered of late. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

MEASURED = 300.0
"""Seconds back from now that count as of late."""
SHORTEST = 30.0
"""Of a measurement: before that nothing is foretold."""


@dataclass(frozen=True, slots=True)
class Unended:
    """A batch that has not ended."""

    id: str
    status: str
    window_ends: float
    open: int
    """Lines without an answer; 0 while it is validated."""
    done: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds until the last open line is answered, None where nobody can say, and how many batches will be late."""

    eta: float | None
    late: int


class Pace:
    """Lines answered a second, over all batches and workers, from what the store tells every now and then."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()

    def told(self, now: float, batches: Sequence[Unended]) -> float | None:
        """The pace now; None as long as it was not watched for long enough."""
        self._seen.append((now, {batch.id: batch.done for batch in batches}))
        while len(self._seen) > 2 and self._seen[1][0] <= now - MEASURED:
            self._seen.popleft()
        seconds = now - self._seen[0][0]
        if seconds < SHORTEST:
            return None
        answered = 0
        for (_, before), (_, after) in zip(self._seen, list(self._seen)[1:], strict=False):
            answered += sum(max(0, done - before.get(ident, 0)) for ident, done in after.items())
        return answered / seconds


def forecast(now: float, batches: Sequence[Unended], pace: float | None) -> Forecast:
    """`batches` in the order in which they are worked on: the oldest first."""
    if pace is None:
        return Forecast(None, 0)
    ahead = late = 0
    for batch in batches:
        ahead += batch.open
        if batch.open and (pace <= 0 or now + ahead / pace > batch.window_ends):
            late += 1
    if not ahead:
        return Forecast(0.0, 0)
    return Forecast(ahead / pace if pace > 0 else None, late)
