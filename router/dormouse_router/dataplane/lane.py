"""One model's traffic in this router: what is in flight, what is held, and whether a wake is under way.

Plain counts, kept by the data plane, read by the lease keeper, by `/demand` and by the metrics. No I/O and no clock:
every method is told the time. Monotonic seconds throughout.
"""

from dormouse_router.catalog.catalog import Entry
from dormouse_router.catalog.record import Key, Record
from dormouse_router.dataplane.balance import Balancer
from dormouse_router.dataplane.usage import Tokens
from dormouse_router.metrics import ModelStats

PACE_SECONDS = 10.0
PACE_SHARE = 0.2


class Lane:
    """The traffic of one model."""

    __slots__ = (
        "balancer",
        "estimate",
        "first_token",
        "held",
        "held_bytes",
        "idle_since",
        "in_flight",
        "key",
        "linger",
        "low",
        "pace",
        "paced",
        "stats",
        "wake_ends",
        "waking_since",
    )

    def __init__(self, key: Key) -> None:
        self.key = key
        self.balancer = Balancer()
        self.estimate: tuple[Record, float, float | None] | None = None
        """What was last estimated, when, and how long the wake still took then: for `hold.py`."""
        self.in_flight = 0
        self.held: dict[object, float] = {}
        """Since when each held call waits; the oldest first."""
        self.held_bytes = 0
        self.low: object | None = None
        """Of those that are held the one that yields to others; there is one at most."""
        self.pace = 0.0
        """Seconds per token of calls that do not yield: a moving mean over about the last five."""
        self.paced = float("-inf")
        """When it was last told."""
        self.idle_since = 0.0
        """When the last call ended."""
        self.linger: float | None = None
        """Seconds the latest caller asked the model to stay (keep_alive); None: the model's own idleSeconds."""
        self.waking_since = 0.0
        self.wake_ends = 0.0
        """A wake that began goes on until then, whoever leaves; 0.0: none is under way."""
        self.first_token: float | None = None
        """When the first stream that waited for the last wake had its first token."""
        self.stats = ModelStats()

    def wake(self, now: float, seconds: float) -> bool:
        """A call needs the model awake: begin a wake of at most `seconds` unless one is under way. True: it began."""
        if self.wake_ends > now:
            return False
        self.waking_since, self.wake_ends = now, now + seconds
        self.stats.wakes += 1
        return True

    def answered(self, now: float) -> None:
        """A held call has its first token. Only the first one of a wake says how long that took."""
        if self.first_token is None or self.first_token < self.waking_since:
            self.first_token = now

    def spent(self, tokens: Tokens, seconds: float | None, now: float) -> None:
        """A call took these tokens, and one that does not yield so many `seconds` for them."""
        self.stats.spent(tokens.prompt, tokens.completion)
        if seconds is not None:
            self.told(seconds, tokens.completion, now)

    def told(self, seconds: float, tokens: int, now: float) -> None:
        """A call that does not yield took so long for so many tokens."""
        pace = seconds / max(1, tokens)
        stale = now - self.paced > PACE_SECONDS
        self.pace = pace if stale else self.pace + (pace - self.pace) * PACE_SHARE
        self.paced = now

    def paced_at(self, now: float) -> float | None:
        """`pace`, where a call has told of it a moment ago."""
        return self.pace if now - self.paced <= PACE_SECONDS else None

    def settle(self, entry: Entry | None, now: float) -> None:
        """End the wake if there is nothing left to wait for: awake, failed, gone, or out of time."""
        if not self.wake_ends:
            return
        over = entry is None or entry.record.failed
        if over or (entry is not None and entry.endpoints) or self.wake_ends <= now:
            self.wake_ends = 0.0
            if not over:  # a wake nobody waited for still leaves the model up for a while; a failed one does not
                self.idle_since = max(self.idle_since, now)

    def elapsed(self, now: float) -> float:
        """Seconds since the wake that is under way began; 0.0 where none is."""
        return now - self.waking_since if self.wake_ends else 0.0

    @property
    def busy(self) -> bool:
        """Somebody needs the model awake now."""
        return bool(self.in_flight or self.held or self.wake_ends)

    def oldest_wait(self, now: float) -> float:
        """Seconds the longest-held call has waited; 0.0 where none is held."""
        return now - next(iter(self.held.values())) if self.held else 0.0
