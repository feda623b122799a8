"""Ollama's own programs for the tests of this folder: what they need of the machine, and how their words are read."""

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

SECONDS = 60.0


def need_go() -> None:
    """Skip where they cannot be built."""
    if shutil.which("go") is None or shutil.which("cc") is None:
        pytest.skip("Ollama's own programs are built with go and cc: install both")


def plain(said: bytes) -> str:
    """Text without what moves a terminal's cursor."""
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", said.decode(errors="replace"))


class Terminal:
    """A program that believes that somebody sits before it."""

    def __init__(self, controlling: int) -> None:
        self._fd = controlling
        self._said, self._seen = b"", 0
        self._more = asyncio.Event()
        asyncio.get_running_loop().add_reader(controlling, self._read)

    def _read(self) -> None:
        try:
            self._said += os.read(self._fd, 65536)
        except OSError:  # the program has ended
            asyncio.get_running_loop().remove_reader(self._fd)
        self._more.set()

    async def says(self, words: str) -> None:
        """Until the program has said `words`, after what it said when this was asked the last time."""
        async with asyncio.timeout(SECONDS):
            while (found := plain(self._said).find(words, self._seen)) < 0:
                self._more.clear()
                await self._more.wait()
        self._seen = found + len(words)

    def type(self, line: str) -> None:
        os.write(self._fd, line.encode() + b"\r")


@contextlib.asynccontextmanager
async def terminal(*command: str | Path, env: dict[str, str]) -> AsyncIterator[Terminal]:
    """The command on a terminal of 200 columns; it must have ended by itself, well, when the context ends."""
    controlling, controlled = pty.openpty()
    fcntl.ioctl(controlled, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *command, env=env, start_new_session=True, stdin=controlled, stdout=controlled, stderr=controlled
    )
    os.close(controlled)
    screen = Terminal(controlling)
    try:
        yield screen
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(controlling)
        os.close(controlling)
