"""How a process ends whose work is done: with its status, whatever its connections still do. Knows no work."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn


def run(work: Coroutine[Any, Any, None], loops: Callable[[], asyncio.AbstractEventLoop]) -> NoReturn:
    """Run `work` on one of `loops`, and end this process with status 0; what it raises is raised.

    Python would close the loop before it ends, and one of uvloop's cannot be closed while a TLS connection takes its
    leave from a peer that still sends (EBUSY): every other end of a watch would be told as a failure.
    """
    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(_whole(work))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


async def _whole(work: Coroutine[Any, Any, None]) -> None:
    """`work`, and what it left: tasks end, and threads have finished what they were given."""
    await work
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
