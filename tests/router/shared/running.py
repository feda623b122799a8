"""Processes of these tests, started and ended from within an event loop."""

import asyncio
import asyncio.subprocess
from asyncio.subprocess import Process
from collections.abc import Sequence

DEADLINE = 120.0


async def started(argv: Sequence[str], env: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(*argv, env=env)


async def listening(process: Process, port: int) -> None:
    """Until it listens."""
    async with asyncio.timeout(DEADLINE):
        while True:
            assert process.returncode is None, "the router ended at its start: it says why above"
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


async def ended(process: Process) -> None:
    """It drains, as at every update."""
    process.terminate()
    async with asyncio.timeout(DEADLINE):
        await process.wait()
