"""The life of a runtime pod: try the engines in order, watch the one that serves, drain, end.

Owns the order of things. How an engine is started is its adapter's business, why one failed is `choose`'s, what is
told outside is `timeline`'s and `admin`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dormouse_api.model import Engine
from dormouse_api.results import MAX_MESSAGE
from dormouse_api.runtime import Attempt, Passed, RuntimeState, Stage
from dormouse_runtime.engines.base import Adapter
from dormouse_runtime.settings import Settings
from dormouse_runtime.supervisor import choose, http
from dormouse_runtime.supervisor.child import Child, on_standard_output
from dormouse_runtime.supervisor.log import EngineLog
from dormouse_runtime.supervisor.memory import Memory
from dormouse_runtime.supervisor.preload import Preload, available_memory
from dormouse_runtime.supervisor.reap import Reaper
from dormouse_runtime.supervisor.timeline import Timeline

log = logging.getLogger(__name__)

RESTARTS = 1
"""An engine that dies while it serves is started again so often in a pod's life; then the pod ends, and the kubelet's
back-off takes over."""
LOAD_SECONDS = 2.0


class Supervisor:
    """Runs one model's engine until told to stop. `stopping` is set by SIGTERM."""

    def __init__(self, settings: Settings, engines: Mapping[Engine, Adapter], timeline: Timeline) -> None:
        self._settings = settings
        self._engines = engines
        self._timing = settings.timing
        self._reaper = Reaper()
        self._restarts = 0
        self._memory = Memory(Path(settings.config.cache_dir))
        self.timeline = timeline
        self.stopping = asyncio.Event()
        self.child: Child | None = None
        self.argv: tuple[str, ...] = ()
        self.log = EngineLog(lambda line: None)

    async def run(self) -> int:
        """Serve until SIGTERM (0) or until nothing is left to try (1)."""
        self._reaper.install()
        for attempt in self._settings.config.attempts:
            if self.stopping.is_set():
                return 0
            served = await self._serve(attempt)
            if self.stopping.is_set():
                return 0
            if served:
                return self._give_up()
        return self._give_up()

    async def _serve(self, attempt: Attempt) -> bool:
        """Start `attempt` and stay with it to its end. True where it had served, False where it never did."""
        while True:
            passed = await self._start(attempt)
            if passed is not None:
                if not self.stopping.is_set():
                    self.timeline.pass_over(passed)
                return False
            passed = await self._watch(attempt)
            if self.stopping.is_set():
                return True
            self.timeline.pass_over(passed)
            if self._restarts >= RESTARTS:
                return True
            self._restarts += 1
            self.timeline.restarted(self._restarts)

    async def _start(self, attempt: Attempt) -> Passed | None:
        """None once the engine answers; else why it never did, with nothing of it left running."""
        self.timeline.begin(attempt)
        began = time.monotonic()
        if absent := _absent(attempt):
            return choose.missing(attempt, absent)
        adapter = self._engines[attempt.engine]
        # The last engine is always asked: a pod must not fail by heart.
        last = attempt == self._settings.config.attempts[-1]
        if not last and (refused := self._memory.recall(adapter.identity(attempt))):
            return refused
        command = adapter.command(attempt)
        ready_line = asyncio.Event()
        self.log = EngineLog(self._listener(adapter, ready_line))
        self.argv = command.argv
        preload = Preload(command.preload, available_memory() // 2)
        preload.start()
        child = self.child = await Child.start(command, self._reaper, self.log)
        try:
            ready = await self._await_ready(child, ready_line)
        finally:
            preload.stop()
        if ready:
            self.timeline.reach(Stage.READY)
            return None
        timed_out = not child.exited.done()
        await child.kill()
        seconds = time.monotonic() - began
        ending = choose.Ending(child.exited.result(), seconds, tuple(self.log.lines), timed_out)
        passed = choose.judge(attempt, ending)
        self._memory.keep(adapter.identity(attempt), passed)
        return passed

    def _listener(self, adapter: Adapter, moved: asyncio.Event) -> _Listener:
        return _Listener(adapter, self.timeline, moved)

    async def _await_ready(self, child: Child, moved: asyncio.Event) -> bool:
        """Poll the engine's health until it answers, ends, runs out of time or is to stop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.config.start_seconds
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            while not child.exited.done() and not stopping.done() and loop.time() < deadline:
                if await self._healthy(1.0):
                    return not child.exited.done()
                await self._pause(child, stopping, moved)
            return False
        finally:
            stopping.cancel()

    async def _pause(self, child: Child, stopping: asyncio.Task[bool], moved: asyncio.Event) -> None:
        """Until the next poll: shorter once the weights are loaded, none where a log line told of a new stage."""
        loaded = self.timeline.state.stage in (Stage.COMPILING, Stage.WARMING)
        moved.clear()
        line = asyncio.create_task(moved.wait())
        events: list[asyncio.Future[Any]] = [child.exited, stopping, line]
        await asyncio.wait(
            events,
            timeout=self._timing.poll_fast if loaded else self._timing.poll_slow,
            return_when=asyncio.FIRST_COMPLETED,
        )
        line.cancel()

    async def _healthy(self, seconds: float) -> bool:
        answer = await http.get(self._settings.config.serving_port, "/health", seconds, self._address())
        return answer is not None and answer.status == 200

    def _address(self) -> str:
        return "127.0.0.1" if self._settings.host == "0.0.0.0" else self._settings.host

    async def _watch(self, attempt: Attempt) -> Passed:
        """Stay with the serving engine. Returns how it ended, by itself, wedged or drained."""
        child, began = self._running(), time.monotonic()
        health = asyncio.create_task(self._watch_health())
        stopping = asyncio.create_task(self.stopping.wait())
        events: list[asyncio.Future[Any]] = [child.exited, health, stopping]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        wedged = health.done() and not child.exited.done()
        health.cancel()
        if stopping.done():
            await self._drain(child)
        stopping.cancel()
        await child.kill()
        ending = choose.Ending(child.exited.result(), time.monotonic() - began, tuple(self.log.lines))
        died = choose.judge(attempt, ending)
        cause = f"gave no health answer for {self._timing.wedged:.0f} s" if wedged else died.message
        return died.model_copy(update={"message": f"stopped while serving: {cause}"[: choose.MAX_WORDS]})

    async def _watch_health(self) -> None:
        """Keeps `timeline.healthy` true to the engine; ends when it has been wedged for too long."""
        loop = asyncio.get_running_loop()
        last_good = loop.time()
        while loop.time() - last_good < self._timing.wedged:
            await asyncio.sleep(self._timing.health_every)
            healthy = await self._healthy(self._timing.health_timeout)
            if healthy:
                last_good = loop.time()
            self.timeline.health(healthy)

    async def _drain(self, child: Child) -> None:
        """Unready first; then let requests in flight end, for `drain_seconds` at most; then stop the engine."""
        self.timeline.drain()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._settings.config.drain_seconds
        settled = loop.time() + min(self._timing.settle, self._settings.config.drain_seconds)
        told = loop.time()
        while loop.time() < end and not child.exited.done():
            load = await self._in_flight()
            told = loop.time() if load is not None else told
            if (load == 0 and loop.time() >= settled) or loop.time() >= told + self._timing.untold:
                break
            await asyncio.wait([child.exited], timeout=self._timing.poll_slow)
        await child.stop(self._timing.stop)

    async def _in_flight(self) -> int | None:
        """Requests the engine is answering; None: it does not say."""
        answer = await http.get(self._settings.config.serving_port, "/load", LOAD_SECONDS, self._address())
        if answer is None or answer.status != 200:
            return None
        try:
            return max(0, int(json.loads(answer.body)["server_load"]))
        except (ValueError, KeyError, TypeError):
            return None

    def _running(self) -> Child:
        assert self.child is not None  # noqa: S101 - _start has set it
        return self.child

    def _give_up(self) -> int:
        """The last word, in the state and in the termination message. The reason of the last attempt counts."""
        passed = self.timeline.state.passed
        self.timeline.fail(passed[-1])
        write_last_word(self.timeline.state, self._settings.termination_log)
        log.error("no engine serves %s: %s", self._settings.config.model, passed[-1].message)
        return 1


class _Listener:
    """What happens with each line of an engine: the pod's log, the stage, and a nudge to ask for its health."""

    def __init__(self, adapter: Adapter, timeline: Timeline, moved: asyncio.Event) -> None:
        self._adapter, self._timeline, self._moved = adapter, timeline, moved
        self._echo = on_standard_output()

    def __call__(self, line: str) -> None:
        self._echo(line)
        stage = self._adapter.stage_of(line)
        if stage is not None:
            self._timeline.reach(stage)
            self._moved.set()


def _absent(attempt: Attempt) -> str | None:
    """The first path that must be there and is not."""
    folder = Path(attempt.model_dir)
    needed = (folder, folder / "config.json")
    return next((str(path) for path in needed if not path.exists()), None)


def write_last_word(state: RuntimeState, path: Path) -> None:
    """The state as the termination message: at most MAX_MESSAGE bytes, oldest timeline entries dropped first."""
    while len(text := state.model_dump_json(exclude_none=True)) > MAX_MESSAGE or len(text.encode()) > MAX_MESSAGE:
        if state.timeline:
            state = state.model_copy(update={"timeline": state.timeline[1:]})
        elif state.passed:
            state = state.model_copy(update={"passed": state.passed[1:]})
        else:
            break
    try:
        path.write_text(text)
    except OSError as error:
        log.warning("cannot write the termination message to %s: %s", path, error)
