"""One thread that owns a model, and the bounded line before it. Knows neither what is done there nor HTTP.

Work that runs cannot be taken from its thread: it is told to stop (`left`), and the next begins when it has. So a model
never does two things at once, whatever clients do.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
Left = Callable[[], bool]
"""Whether nobody waits for the result any more."""
_END: Any = object()


class FullError(Exception):
    """The line is as long as it may be."""


class Worker:
    """`most`: calls in flight at once, the one that runs included."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "model")
        self.in_flight = 0
        """Calls that run or wait."""
        self.running = 0

    def enter(self) -> None:
        """A call comes; FullError where it cannot wait. `leave` when it ends."""
        if self.in_flight >= self._most:
            raise FullError
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1

    def at_once(self, work: Callable[[], T]) -> T:
        """The result of `work` in the thread, for before and after the server: what is loaded there is used there."""
        return self._thread.submit(work).result()

    async def run(self, work: Callable[[Left], T]) -> T:
        """The result of `work` in the thread, after those who came before. Cancelled, it is told so and awaited."""
        gone = threading.Event()
        async with self._turn:
            self.running = 1
            try:
                return await self._call(lambda: work(gone.is_set), gone)
            finally:
                self.running = 0

    async def each(self, items: Iterator[T]) -> AsyncGenerator[T, None]:
        """The items, each made in the thread. Closed early, so is the iterator; nobody else's turn comes meanwhile."""
        async with self._turn:
            self.running = 1
            try:
                while (item := await self._call(lambda: next(items, _END))) is not _END:
                    yield item
            finally:
                if close := getattr(items, "close", None):
                    await self._call(close)
                self.running = 0

    async def _call(self, work: Callable[[], T], gone: threading.Event | None = None) -> T:
        """In the thread, to its end even where this task is cancelled: the thread cannot be let go earlier."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if gone is not None:
                gone.set()
            await _ended(future)
            raise


async def _ended(future: asyncio.Future[Any]) -> None:
    """Once it is done, however often this task is cancelled meanwhile."""
    while not future.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    future.exception()  # nobody wants it, and asyncio would complain
