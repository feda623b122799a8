"""How many lines of a model are in flight while others call it: as many as their calls do not suffer from. Pure.

What their calls take per token without us is found by nearly leaving them alone for a moment: at once when they come
to a batch under way, and again every two minutes, for prompts change and engines come and go. It is not the least that
was ever heard: single calls differ, so the least only falls. From then on the window goes where their calls take
`SLOWER` of that; what they lose grows about as the window does, so each answer says how far it is.
"""

SLOWER = 1.25
"""Seconds per token that others' calls may take, of what they take without us: half of what they are promised, so that
one call in twenty keeps the promise too."""
PROBE_SHARE = 32
"""The window is divided by it to leave them alone: not quite, because only our answers tell of their calls."""
PROBE_CALLS, STEP_CALLS = 12, 5
"""Of theirs, before a measurement counts: what is told is a mean over about the last five."""
PROBE_SECONDS, STEP_SECONDS = 20.0, 10.0
"""And no longer than this, however seldom they call."""
PROBE_EVERY = 120.0
MOST_GUESSED = 1.5
"""How much less than what was heard may be taken for what they take without us."""


class Sharing:
    """Of one model. Times are monotonic seconds."""

    __slots__ = ("_back", "_before", "_began", "_calls", "_last", "_pace", "_probed")

    def __init__(self) -> None:
        self._pace: float | None = None
        """Their seconds per token without us, as far as it is known."""
        self._probed = float("-inf")
        self._back: int | None = None
        """While they are left alone: the window to go back to."""
        self._before = 0.0
        """What they took before they were left alone."""
        self._last = 0.0
        self._calls = 0
        self._began = 0.0

    def came(self, now: float, pace: float, size: int, untouched: bool) -> int:
        """Others call. The window to begin with, `size` is the one without them. `untouched`: nothing of ours has been
        in their way yet, so their pace now is the one without us."""
        self._last = pace
        if untouched:
            self._pace, self._probed, self._back = pace, now, None
            return self._next(now, size // 4)
        return self._probe(now, pace, size // 4)

    def heard(self, now: float, pace: float, size: int) -> int | None:
        """What they take now, with none but `size` lines in flight. The next window, if it is to change."""
        if pace != self._last:
            self._last = pace
            self._calls += 1
        probing = self._back is not None
        calls, seconds = (PROBE_CALLS, PROBE_SECONDS) if probing else (STEP_CALLS, STEP_SECONDS)
        if self._calls < calls and now - self._began < seconds:
            return None
        if self._back is not None:
            back, self._back = self._back, None
            self._pace, self._probed = _without(size, pace, back, self._before), now
            return self._next(now, back)
        if now - self._probed >= PROBE_EVERY:
            return self._probe(now, pace, size)
        return self._next(now, _fitting(size, pace, self._pace or pace))

    def changed(self, now: float) -> None:
        """What was in flight before the last change has landed: what is heard from now on is of it."""
        self._began, self._calls = now, 0

    def _probe(self, now: float, pace: float, back: int) -> int:
        self._back, self._before = max(1, back), pace
        return self._next(now, back // PROBE_SHARE)

    def _next(self, now: float, size: int) -> int:
        self.changed(now)
        return max(1, size)


def _without(size: int, pace: float, more: int, slower: float) -> float:
    """What they would take without us, by what they take at `size` and took at `more`: of few lines each one counts."""
    if more <= size or slower <= pace:
        return pace
    return max(pace / MOST_GUESSED, pace - (slower - pace) * size / (more - size))


def _fitting(size: int, pace: float, alone: float) -> int:
    """The window at which they would take SLOWER of `alone`, where they take `pace` at `size`; a step towards it."""
    slower = max(pace / alone - 1.0, 1e-6)
    wanted = size * (SLOWER - 1.0) / slower
    return int(max(size * 0.5, min(size * 1.25 + 1, wanted)))
