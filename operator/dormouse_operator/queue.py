"""The work queue: which model to look at next. Knows nothing of what is done with it.

Rules: a key waits once, however often it is added; a key in work is never handed out twice, but is run again when it
was added meanwhile; wakes go before everything else and always find a worker; a failing key backs off, behind the
others in the end, and a new event by-passes its back-off.
All arithmetic is in `WorkQueue`, on a clock that tests can turn; `work` is the only part that waits.
"""

import asyncio
import heapq
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from typing import NamedTuple

BACKOFF_FIRST = 0.2
BACKOFF_CAP = 60.0
REMEMBERED = 10_000


class Key(NamedTuple):
    """One model."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Level(IntEnum):
    """Lower goes first. The number is also how many pairs of workers are kept free of it, where there are enough: looks
    share one loop, so more of them at once are no faster, and a wake among them waits for each at every step.
    """

    WAKE = 0
    """Somebody waits for the model: neither a thousand first lists nor a burst of changes may stand before it."""
    SOON = 1
    LATER = 2
    """First lists and resyncs, and what has failed again and again."""


FAILURES_IN_TURN = 3
"""So often in a row a look may fail and be tried again in the turn it had; then it goes behind the others."""


class WorkQueue:
    """Deduplicating queue of three levels with delayed adds. Not thread-safe: one event loop."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, workers: int = 1_000_000, spacing: float = 0.0
    ) -> None:
        """`workers`: how many looks may be in work at once, of which the lower levels leave some free; `spacing`:
        seconds between two looks at one key for what need not be known at once.
        """
        self._clock, self._spacing = clock, spacing
        self._workers = workers
        self._lanes: dict[Level, deque[Key]] = {level: deque() for level in Level}
        self._waiting: dict[Key, tuple[Level, float]] = {}
        self._running: dict[Key, tuple[Level, float]] = {}
        self._asked: dict[Key, int] = {}
        self._moments = itertools.count(1)
        self._due: dict[Key, tuple[float, Level]] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._ended: dict[Key, float] = {}
        self._changed = asyncio.Event()
        self._closed = False

    # -- what producers call

    def add(self, key: Key, level: Level = Level.SOON) -> None:
        """Look at `key` as soon as a worker is free. Ends any wait or back-off of the key."""
        self._due.pop(key, None)
        self._asked[key] = self.moment()
        known = self._waiting.get(key)
        if known is not None and known[0] <= level:
            return
        self._waiting[key] = (level, known[1] if known else self._clock())
        if key not in self._running:
            self._lanes[level].append(key)
        self._changed.set()

    def add_soon(self, key: Key) -> None:
        """As `add`, but not before `spacing` has passed since the last look: what comes in bursts is looked at once."""
        ended = self._ended.get(key)
        wait = 0.0 if ended is None else ended + self._spacing - self._clock()
        if key in self._running:
            wait = self._spacing
        if wait > 0:
            self.add_after(key, wait)
        else:
            self.add(key)

    def add_after(self, key: Key, seconds: float, level: Level = Level.SOON) -> None:
        """Look at `key` again in `seconds`; the earlier of two such wishes counts, and `add` overtakes both."""
        due = self._clock() + max(0.0, seconds)
        known = self._due.get(key)
        if key in self._waiting or (known is not None and known[0] <= due):
            return
        self._due[key] = (due, level)
        heapq.heappush(self._heap, (due, key))
        self._changed.set()

    def forget(self, key: Key) -> None:
        """The model is gone: no delayed look, no memory of failures."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    def close(self) -> None:
        """Hand out nothing more; workers end with what they have in work."""
        self._closed = True
        self._changed.set()

    # -- what workers call

    def take(self) -> Key | None:
        """The next key, now in work, or None. Pair with `done` or `failed`."""
        if self._closed:
            return None
        self._promote()
        for level, lane in self._lanes.items():
            while lane and self._room(level):
                key = lane.popleft()
                # an entry is stale when the key moved to the other lane or is in work by now
                if key in self._running or self._waiting.get(key, (None, 0.0))[0] is not level:
                    continue
                del self._waiting[key]
                self._running[key] = (level, self._clock())
                return key
        return None

    def done(self, key: Key, again_in: float | None = None) -> None:
        """`key` was handled; look again in `again_in` seconds, if given."""
        self._failures.pop(key, None)
        self._release(key)
        if again_in is not None:
            self.add_after(key, again_in)

    def failed(self, key: Key, retry_after: float | None = None) -> float:
        """`key` must be tried again; returns the seconds until then, growing with each failure in a row."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        level, _ = self._running.get(key, (Level.LATER, 0.0))
        delay = min(BACKOFF_CAP, BACKOFF_FIRST * 2.0 ** min(count - 1, 16))
        delay = max(delay, retry_after or 0.0)
        self._release(key)
        self.add_after(key, delay, level if count < FAILURES_IN_TURN else Level.LATER)
        return delay

    def _release(self, key: Key) -> None:
        self._running.pop(key, None)
        if len(self._ended) > REMEMBERED:
            self._ended.clear()  # models that are gone; what is not remembered is only looked at a moment sooner
        self._ended[key] = self._clock()
        if key in self._waiting:
            self._lanes[self._waiting[key][0]].append(key)
        else:
            self._asked.pop(key, None)
        if self._waiting:
            self._changed.set()  # there may be room for a level that had none

    def _room(self, level: Level) -> bool:
        """Whether one more of this level may be in work: half as many beside a wake, which they would slow down."""
        behind = sum(1 for each, _ in self._running.values() if each >= level)
        beside_wake = level > Level.WAKE and any(each is Level.WAKE for each, _ in self._running.values())
        return behind < max(1, (self._workers - 2 * level) // (2 if beside_wake else 1))

    def _promote(self) -> None:
        now = self._clock()
        while self._heap and self._heap[0][0] <= now:
            due, key = heapq.heappop(self._heap)
            known = self._due.get(key)
            if known is not None and known[0] == due:
                self.add(key, known[1])

    # -- what a look asks of its own key

    def moment(self) -> int:
        """Now, as a number that only grows: what `asked` compares with, whatever the clock does."""
        return next(self._moments)

    def asked(self, key: Key) -> int:
        """The moment at which the look at `key` that is in work, or the next one, was asked for last."""
        return self._asked.get(key, 0)

    def hurries(self, key: Key) -> bool:
        """Whether the look at `key` that is in work is a wake's."""
        return self._running.get(key, (Level.LATER, 0.0))[0] is Level.WAKE

    def beside(self, key: Key, most: int) -> list[Key]:
        """At most so many keys of the level of `key`, which is in work: others in work, then those that come next.

        A wake has none beside it: it writes, so what is read for many would be read, and waited for, in vain.
        """
        level, _ = self._running.get(key, (Level.LATER, 0.0))
        if level is Level.WAKE:
            return []
        others = (k for k, (each, _) in self._running.items() if each is level and k != key)
        lane = (k for k in self._lanes[level] if self._waiting.get(k, (None,))[0] is level and k not in self._running)
        return list(dict.fromkeys(itertools.islice(itertools.chain(others, lane), most)))

    # -- what the ops endpoint asks

    def depth(self) -> int:
        """Keys waiting for a worker, without delayed ones."""
        return len(self._waiting)

    def oldest_waiting(self) -> float:
        """Seconds the longest-waiting key has waited; 0 when none does."""
        return max((self._clock() - since for _, since in self._waiting.values()), default=0.0)

    def oldest_running(self) -> float:
        """Seconds the longest-running look has taken so far; 0 when none runs."""
        return max((self._clock() - since for _, since in self._running.values()), default=0.0)

    def next_due(self) -> float | None:
        """Seconds until the next delayed key, or None."""
        while self._heap and self._due.get(self._heap[0][1], (None,))[0] != self._heap[0][0]:
            heapq.heappop(self._heap)
        return max(0.0, self._heap[0][0] - self._clock()) if self._heap else None

    async def wait(self) -> Key | None:
        """The next key, waiting for one; None when the queue is closed."""
        while (key := self.take()) is None:
            if self._closed:
                return None
            self._changed.clear()  # nothing waits now, and nobody can add before the next await: no call is lost
            with suppress(TimeoutError):
                async with asyncio.timeout(self.next_due()):
                    await self._changed.wait()
        return key


async def work(queue: WorkQueue, look: Callable[[Key], Awaitable[None]]) -> None:
    """One worker, until the queue is closed. `look` settles the key with `done` or `failed` itself."""
    while (key := await queue.wait()) is not None:
        await look(key)
