"""One engine process: started in a session of its own, listened to, stopped with everything it started.

Knows nothing of engines or stages; it gives lines and an exit code.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable

from dormouse_runtime.engines.base import Command
from dormouse_runtime.supervisor.log import EngineLog
from dormouse_runtime.supervisor.reap import Reaper

READ_BYTES = 65536
EMPTY_SECONDS, EMPTY_POLL = 5.0, 0.01
LAST_WORDS = 1.0
"""Seconds to read on after the end: a grandchild may hold the pipe open for ever."""


class Child:
    """A running process. `exited` is its exit code, negative for a signal."""

    def __init__(
        self, process: subprocess.Popen[bytes], exited: asyncio.Future[int], output: asyncio.Task[None]
    ) -> None:
        self._process = process
        self._output = output
        self.pid = process.pid
        self.exited = exited
        # Popen must not wait by itself: the reaper has the exit code already.
        exited.add_done_callback(
            lambda ended: setattr(process, "returncode", 0 if ended.cancelled() else ended.result())
        )

    @classmethod
    async def start(cls, command: Command, reaper: Reaper, log: EngineLog) -> Child:
        """Start `command`. OSError where its program is not there."""
        for path, text in command.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        process = subprocess.Popen(  # noqa: ASYNC220 - must happen in one step with watch(), see Reaper
            command.argv,
            env={**os.environ, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        exited = reaper.watch(process.pid)
        output = asyncio.create_task(_pump(process, log))
        return cls(process, exited, output)

    async def last_words(self) -> None:
        """After the end: wait until its output is read, but not for what a grandchild still might say."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._output, LAST_WORDS)

    def signal(self, number: signal.Signals) -> None:
        """Signal the process itself: engines tell their own workers."""
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def stop(self, seconds: float) -> None:
        """SIGTERM, `seconds` to end, then SIGKILL; nothing of its session is left when this returns."""
        self.signal(signal.SIGTERM)
        await asyncio.wait([self.exited], timeout=seconds)
        await self.kill()

    async def kill(self) -> None:
        """SIGKILL to everything it started: workers that outlive their parent keep its memory."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        await self.exited
        await self.last_words()
        await self._empty()

    async def _empty(self) -> None:
        """Until nothing of its session is left, so that the next attempt finds the memory and the device free."""
        loop = asyncio.get_running_loop()
        end = loop.time() + EMPTY_SECONDS
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while loop.time() < end:
                os.killpg(self.pid, 0)
                await asyncio.sleep(EMPTY_POLL)


async def _pump(process: subprocess.Popen[bytes], log: EngineLog) -> None:
    assert process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), process.stdout
    )
    try:
        while data := await reader.read(READ_BYTES):
            log.feed(data)
    finally:
        log.close()
        transport.close()


def on_standard_output() -> Callable[[str], None]:
    """Passes lines on to this process's own output, which is the pod's log."""

    def write(line: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(line, flush=True)  # noqa: T201 - the pod's log

    return write
