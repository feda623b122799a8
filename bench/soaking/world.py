"""A cluster in motion: what operator, kubelet and people would do to models and engines while the load runs.

Three models: `steady` is always wanted and its engines come and go; `sleepy` is evicted again and again, and wakes when
a lease wants it; `fleeting` is deleted and made anew. The engines are shared. Every time in which a
model may be away is in the ledger before the router can know of it.
"""

import asyncio
import random
import time

from bench.routing.control import Control
from bench.soaking.engines import Engine
from bench.soaking.ledger import Ledger

STEADY, SLEEPY, FLEETING = "steady", "sleepy", "fleeting"
SCALING = {
    STEADY: {"idleSeconds": 60, "holdSeconds": 20},
    SLEEPY: {"idleSeconds": 1, "holdSeconds": 3, "maxHeld": 6},
    FLEETING: {"idleSeconds": 60, "holdSeconds": 20},
}
WAKE_SECONDS = (0.1, 1.0)
SLOW_WAKE_SECONDS = 5.0
"""One wake in ten is slower than its callers' patience."""
AWAKE_SECONDS = (0.5, 4.0)
ABSENT_SECONDS = (0.05, 0.5)
SETTLED_SECONDS = 0.5
"""How long after its return a model's calls may still meet connections that died with it."""


class World:
    """The three models on three engines."""

    def __init__(self, control: Control, ledger: Ledger, dice: random.Random, silence: float) -> None:
        self.engines = [Engine(ledger, dice, silence) for _ in range(3)]
        self._control, self._ledger, self._dice = control, ledger, dice

    def pick(self) -> str:
        """The model of some request."""
        return self._dice.choices((STEADY, SLEEPY, FLEETING), (6, 2, 2))[0]

    async def start(self) -> None:
        for engine in self.engines:
            await engine.start()
        self._ledger.engines = [engine.port for engine in self.engines]
        for model in SCALING:
            await self._add(model)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; then everything is there again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._engines(stop))
            group.create_task(self._sleeps(stop))
            group.create_task(self._deletions(stop))

    async def end(self) -> None:
        """No model and no engine is left."""
        for model in SCALING:
            await self._control.ask("remove", model=model)
        for engine in self.engines:
            await engine.stop()

    # ------------------------------------------------------------------ inside

    async def _engines(self, stop: asyncio.Event) -> None:
        """One engine after the other is killed and comes back; the cluster notices before, or never."""
        while not stop.is_set():
            await self._pause(stop, AWAKE_SECONDS)
            engine = self._dice.choice(self.engines)
            for model in SCALING:
                self._ledger.begin_trouble(model, "an engine is gone")
            known = self._dice.random() < 0.5
            if known:
                await self._ready(STEADY, [e for e in self.engines if e is not engine])
            await engine.stop()
            await asyncio.sleep(self._dice.uniform(*ABSENT_SECONDS))
            await engine.start()
            for model in SCALING:
                self._ledger.lost(model, engine.port)  # the last that tried it while it was away
            if known:
                await self._ready(STEADY, self.engines)
            await asyncio.sleep(SETTLED_SECONDS)
            for model in SCALING:
                self._ledger.end_trouble(model, "an engine is gone")

    async def _sleeps(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._pause(stop, AWAKE_SECONDS)
            self._ledger.begin_trouble(SLEEPY, "asleep")
            await self._ready(SLEEPY, [])
            while not stop.is_set() and not await self._wanted(SLEEPY):  # noqa: ASYNC110 - a lease in another process
                await asyncio.sleep(0.1)
            slow = self._dice.random() < 0.1
            await self._pause(stop, (SLOW_WAKE_SECONDS, SLOW_WAKE_SECONDS) if slow else WAKE_SECONDS)
            await self._ready(SLEEPY, self.engines)
            await asyncio.sleep(SETTLED_SECONDS)
            self._ledger.end_trouble(SLEEPY, "asleep")

    async def _deletions(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self._pause(stop, AWAKE_SECONDS)
            self._ledger.begin_trouble(FLEETING, "deleted")
            await self._control.ask("remove", model=FLEETING)
            await asyncio.sleep(self._dice.uniform(*ABSENT_SECONDS))
            await self._add(FLEETING)
            await asyncio.sleep(SETTLED_SECONDS)
            self._ledger.end_trouble(FLEETING, "deleted")

    async def _wanted(self, model: str) -> bool:
        wishes: dict[str, float] = (await self._control.ask("counts"))["wishes"]
        return wishes.get(model, 0.0) > time.time()

    async def _add(self, model: str) -> None:
        await self._control.ask("add", model=model, scaling=SCALING[model])
        await self._ready(model, self.engines)

    async def _ready(self, model: str, engines: list[Engine]) -> None:
        await self._control.ask("endpoints", model=model, ports=[engine.port for engine in engines])

    async def _pause(self, stop: asyncio.Event, seconds: tuple[float, float]) -> None:
        try:
            async with asyncio.timeout(self._dice.uniform(*seconds)):
                await stop.wait()
        except TimeoutError:
            pass
