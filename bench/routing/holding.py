"""Hold release: many requests wait for a sleeping model; its engine becomes ready; when does each reach it?

Counted from just before the router can know of the endpoint to the moment the engine has the whole request.
"""

import asyncio
import json
from asyncio.subprocess import PIPE

from bench.routing.bodies import MODEL, STREAMS
from bench.routing.control import Control
from bench.routing.measures import Figures, on_load_core
from bench.routing.processes import BenchError, free_port, python, running
from bench.routing.streams import OPENAI
from bench.routing.targets import LOAD_CORE, PROXY_CORE

UNITS = {"hold release p50": "ms", "hold release p99": "ms", "hold release max": "ms"}
SCALING = {"maxHeld": 4 * STREAMS, "holdSeconds": 600, "idleSeconds": 600}
HELD_SECONDS = 30.0


def releases(repeats: int, interpreter: str, count: int = STREAMS) -> list[Figures]:
    """`repeats` releases of `count` held requests, after one for warming up."""
    engine, port, control = free_port(), free_port(), free_port()
    with (
        running(python("bench.routing.engine", engine, 1), LOAD_CORE, engine),
        running(python("bench.routing.proxy", port, 0, control, interpreter=interpreter), PROXY_CORE, control),
    ):
        return asyncio.run(_releases(repeats, count, engine, port, control))


async def _releases(repeats: int, count: int, engine: int, port: int, control: int) -> list[Figures]:
    desk = await Control.connect(control)
    await desk.ask("add", model=MODEL, scaling=SCALING)
    figures = [await _release(desk, count, engine, port) for _ in range(repeats + 1)]
    desk.close()
    return figures[1:]


async def _release(desk: Control, count: int, engine: int, port: int) -> Figures:
    await desk.ask("endpoints", model=MODEL, ports=[])
    argv = on_load_core("bench.routing.streams", port, count, OPENAI)
    client = await asyncio.create_subprocess_exec(*argv, stdout=PIPE)
    try:
        async with asyncio.timeout(HELD_SECONDS):
            while (await desk.ask("counts"))["held"] < count:  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)
        ready = (await desk.ask("endpoints", model=MODEL, ports=[engine]))["ns"]
        async with asyncio.timeout(HELD_SECONDS):
            said, _ = await client.communicate()
    except TimeoutError:
        raise BenchError(f"{count} requests were not held and released within {HELD_SECONDS:g} s") from None
    finally:
        if client.returncode is None:
            client.kill()
            await client.wait()
    written = sorted(at - ready for at in json.loads(said)["first_written_ns"])
    at = {"p50": written[len(written) // 2], "p99": written[len(written) * 99 // 100], "max": written[-1]}
    return {f"hold release {name}": value / 1e6 for name, value in at.items()}
