"""The router's books: calls are noted as they end, added up a few at a time, and written down once a second.

Owns the bounds: so many calls wait to be added up and so many totals wait for the store; what is beyond is lost and
counted. Decides nothing about calls.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from dormouse_router.accounting.audit import Lines
from dormouse_router.accounting.entries import AUDIT, QUEUE, TOTALS, Ended, Totals, Usage, add, day_of, line, merge
from dormouse_router.request import Refusal

log = structlog.get_logger()
EVERY_SECONDS = 1.0
MOST_WAITING = 50_000
"""Calls that wait to be written: seconds of the most that a router can serve."""
MOST_TOTALS = 20_000
"""Totals that wait while the store is away."""
SLICE = 64
"""Calls that are digested at a time: a fifth of a millisecond."""
MOST_AHEAD = 400
"""Slices that wait to be written while more are digested: 10 MB of lines."""
WRITTEN = 8
"""Slices of a write: what puts them together keeps the interpreter, and all calls waiting, for some 20 us."""
CLOSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Clocks:
    """`steady`: what calls are timed by; `wall`: seconds since the epoch."""

    steady: Callable[[], float]
    wall: Callable[[], float]


class Books:
    """One per router."""

    def __init__(self, usage: Usage, lines: Lines | None, clocks: Clocks, lost: Callable[[str, int], None]) -> None:
        """`lines` takes those of the audit; `lost` is told what could not be kept, and of how many calls."""
        self._usage, self._lines, self._clocks, self._lost = usage, lines, clocks, lost
        self._waiting: list[Ended] = []
        self._said: list[bytes] = []
        """Lines of a slice each, which wait for the next second."""
        self._totals: Totals = {}
        self._encode = msgspec.json.Encoder().encode_lines
        self._turn = asyncio.Lock()

    def note(self, ended: Ended) -> None:
        """A call ended. On the hot path: nothing but a place in the line."""
        waiting = self._waiting
        count = len(waiting) + 1
        if count > MOST_WAITING:
            self._lost(QUEUE, 1)
            return
        waiting.append(ended)
        if count == SLICE:  # all of a second at once would be 20 ms of work that calls find before them
            asyncio.get_running_loop().call_soon(self._ahead)

    async def run(self) -> None:
        """Write down, for ever."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.flush()

    async def close(self) -> None:
        """Write down what is left, if that is possible soon."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.flush()
        except TimeoutError:
            log.error("usage was not written down in time", totals=len(self._totals), calls=len(self._waiting))
        if self._lines is not None:
            self._lines.close()

    async def flush(self) -> None:
        """Everything that has been noted, and what could not be written before."""
        async with self._turn:
            for _ in range(0, len(self._waiting), SLICE):  # who comes meanwhile is in the next second
                self._digest()
                await asyncio.sleep(0)
            said, self._said = self._said, []
            if said and self._lines is not None:
                await asyncio.to_thread(self._write, self._lines, said)
            if self._totals:
                await self._store()

    def _ahead(self) -> None:
        """Digest a slice, unless whoever takes the lines has fallen behind: then calls wait for `flush`."""
        if len(self._waiting) >= SLICE and len(self._said) < MOST_AHEAD:
            self._digest()
            if len(self._waiting) >= SLICE:
                asyncio.get_running_loop().call_soon(self._ahead)

    def _digest(self) -> None:
        """Add up the next slice, and make its lines.

        Not in a thread: one that computes gives the interpreter away every 5 ms, and for so long all calls would wait.
        """
        part = self._waiting[:SLICE]
        del self._waiting[:SLICE]
        later = self._clocks.wall() - self._clocks.steady()  # from our clock to the epoch's
        for ended in part:
            add(self._totals, ended, day_of(ended.at + later))
        if self._lines is not None:
            self._said.append(self._encoded(part, later))

    def _encoded(self, part: list[Ended], later: float) -> bytes:
        try:
            return self._encode([line(ended, ended.at + later) for ended in part])
        except UnicodeEncodeError as error:  # a provider may call somebody what is no text
            self._lose(len(part), error)
            return b""

    def _lose(self, calls: int, error: Exception) -> None:
        self._lost(AUDIT, calls)
        log.warning("lines of the audit were lost", calls=calls, error=str(error))

    def _write(self, lines: Lines, said: list[bytes]) -> None:
        """In a thread, which waits for the disk and not for the interpreter."""
        for start in range(0, len(said), WRITTEN):
            text = b"".join(said[start : start + WRITTEN])
            try:
                if text:
                    lines.write(text)
            except (OSError, ValueError) as error:  # ValueError: a stream that was closed
                self._lose(sum(each.count(b"\n") for each in said[start:]), error)
                return

    async def _store(self) -> None:
        """The totals move to the store, or stay for the next time. Meanwhile others add up."""
        totals, self._totals = self._totals, {}
        try:
            await self._usage.add(totals)
        except BaseException as error:
            merge(totals, self._totals)
            self._totals = totals
            if not isinstance(error, Refusal):
                raise
            log.warning("usage could not be written down", totals=len(totals), error=error.message)
            while len(totals) > MOST_TOTALS:
                _, latest = totals.popitem()
                self._lost(TOTALS, latest.requests)
