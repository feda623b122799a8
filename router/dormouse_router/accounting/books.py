"""The router's books: calls are noted as they end, and written down once a second, all at once.

Owns the bounds: so many calls wait to be written and so many totals wait for the store; what is beyond is lost and
counted. Decides nothing about calls.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from dormouse_router.accounting.audit import Lines
from dormouse_router.accounting.entries import AUDIT, QUEUE, TOTALS, Ended, Totals, Usage, add, day_of, line
from dormouse_router.request import Refusal

log = structlog.get_logger()
EVERY_SECONDS = 1.0
MOST_WAITING = 50_000
"""Calls that wait to be written: seconds of the most that a router can serve."""
MOST_TOTALS = 20_000
"""Totals that wait while the store is away."""
SLICE = 64
"""Calls that are digested at a time: a fifth of a millisecond."""
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
        self._totals: Totals = {}
        self._encode = msgspec.json.Encoder().encode_lines
        self._turn = asyncio.Lock()

    def note(self, ended: Ended) -> None:
        """A call ended. On the hot path: nothing but a place in the line."""
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(ended)
        else:
            self._lost(QUEUE, 1)

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
            noted, self._waiting = self._waiting, []
            if noted:
                later = self._clocks.wall() - self._clocks.steady()
                said = await self._digest(noted, later)
                if self._lines is not None:
                    await asyncio.to_thread(self._write, self._lines, said)
            if self._totals:
                await self._store()

    async def _digest(self, noted: list[Ended], later: float) -> list[bytes]:
        """Add these calls up; their lines. `later`: from our clock to the epoch's.

        Not in a thread: one that computes gives the interpreter away every 5 ms, and for so long all calls would wait.
        """
        said: list[bytes] = []
        done = 0
        try:
            while done < len(noted):
                part = noted[done : done + SLICE]
                for ended in part:
                    add(self._totals, ended, day_of(ended.at + later))
                if self._lines is not None:
                    said.append(self._said(part, later))
                done += len(part)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._waiting[:0] = noted[done:]
            if self._lines is not None:
                self._lost(AUDIT, done)
            raise
        return said

    def _said(self, part: list[Ended], later: float) -> bytes:
        try:
            return self._encode([line(ended, ended.at + later) for ended in part])
        except UnicodeEncodeError as error:  # a provider may call somebody what is no text
            self._lose(len(part), error)
            return b""

    def _lose(self, calls: int, error: Exception) -> None:
        self._lost(AUDIT, calls)
        log.warning("lines of the audit were lost", calls=calls, error=str(error))

    def _write(self, lines: Lines, said: list[bytes]) -> None:
        """In a thread."""
        text = b"".join(said)[:-1].decode()
        try:
            if text:
                lines.write(text)
        except (OSError, ValueError) as error:  # ValueError: a stream that was closed
            self._lose(text.count("\n") + 1, error)

    async def _store(self) -> None:
        """The totals move to the store, or stay for the next time."""
        totals = self._totals
        try:
            await self._usage.add(totals)
        except Refusal as refusal:
            log.warning("usage could not be written down", totals=len(totals), error=refusal.message)
            while len(totals) > MOST_TOTALS:
                _, latest = totals.popitem()
                self._lost(TOTALS, latest.requests)
        else:
            self._totals = {}
