"""The life of a runtime pod: try the engines in order, watch the one that serves, drain, end.

Owns the order of things. How an engine is started is its adapter's business, why one failed is `choose`'s, what is
told outside is `timeline`'s and `admin`'s.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dormouse_api.conditions import Reason
from dormouse_api.model import Engine
from dormouse_api.runtime import Attempt, Passed, Stage
from dormouse_runtime.engines.base import Adapter
from dormouse_runtime.settings import Settings
from dormouse_runtime.supervisor import choose, http, oom, schema, stall
from dormouse_runtime.supervisor.caches import Caches
from dormouse_runtime.supervisor.child import Child
from dormouse_runtime.supervisor.fitting import Fitting, told
from dormouse_runtime.supervisor.folder import damage
from dormouse_runtime.supervisor.lastword import write_last_word
from dormouse_runtime.supervisor.listener import Listener
from dormouse_runtime.supervisor.log import EngineLog
from dormouse_runtime.supervisor.loras import Loras
from dormouse_runtime.supervisor.memory import Memory
from dormouse_runtime.supervisor.preload import Preload, available_memory
from dormouse_runtime.supervisor.reap import Reaper
from dormouse_runtime.supervisor.timeline import Timeline

log = logging.getLogger(__name__)

RESTARTS = 1
"""An engine that dies while it serves is started again so often in a pod's life; then the pod ends, and the kubelet's
back-off takes over."""
LOAD_SECONDS = 2.0


Engines = Callable[[Settings], Mapping[Engine, Adapter]]
"""Every engine, for settings that may be made smaller between two starts."""


class Supervisor:
    """Runs one model's engine until told to stop. `stopping` is set by SIGTERM."""

    def __init__(self, settings: Settings, engines: Engines, timeline: Timeline) -> None:
        self._settings = settings
        self._engines = engines
        self._fitting = Fitting(settings)
        self._timing = settings.timing
        self._reaper = Reaper()
        self._restarts = 0
        self._failed: list[tuple[Attempt, choose.Cause]] = []
        self._memory = Memory(Path(settings.config.cache_dir))
        self.timeline = timeline
        self._loras = Loras(settings.config, self._address(), timeline)
        self.stopping = asyncio.Event()
        self.child: Child | None = None
        self._caches = Caches(None, "")
        self.argv: tuple[str, ...] = ()
        self.log = EngineLog(lambda line: None)

    async def run(self) -> int:
        """Serve until SIGTERM (0) or until nothing is left to try (1)."""
        self._reaper.install()
        try:
            return await self._try_all()
        finally:
            self._fitting.close()

    async def _try_all(self) -> int:
        self.timeline.adapt(self._fitting.resume())
        for attempt in self._settings.config.attempts:
            if self.stopping.is_set():
                return 0
            if why := choose.hopeless(attempt, self._failed):
                self.timeline.pass_over(choose.passed(attempt, why, 0.0))
                continue
            served = await self._serve(attempt)
            if self.stopping.is_set():
                return 0
            if served:
                return self._give_up(self.timeline.state.passed[-1])
        return self._give_up(choose.verdict(self.timeline.state.passed))

    async def _serve(self, attempt: Attempt) -> bool:
        """Start `attempt` and stay with it to its end. True where it had served, False where it never did."""
        while True:
            passed = await self._start(attempt)
            if passed is not None:
                if self.stopping.is_set():
                    return False
                if self._fits_now(attempt, passed):
                    continue
                self.timeline.pass_over(self._fitting.advised(attempt, passed))
                return False
            passed = await self._watch(attempt)
            if self.stopping.is_set():
                return True
            self.timeline.pass_over(passed)
            if self._fits_now(attempt, passed):
                continue
            if self._restarts >= RESTARTS:
                return True
            self._restarts += 1
            self.timeline.restarted(self._restarts)

    def _fits_now(self, attempt: Attempt, passed: Passed) -> bool:
        """Whether a smaller setting was found for an engine that ran out of memory."""
        found = self._fitting.after(attempt, passed)
        if found:
            self.timeline.adapt(self._fitting.adapted)
        return found

    async def _start(self, attempt: Attempt) -> Passed | None:
        """None once the engine answers; else why it never did, with nothing of it left running."""
        self.timeline.begin(attempt)
        began = time.monotonic()
        settings = self._fitting.settings(attempt.engine)
        if wrong := damage(Path(attempt.model_dir), self._engines(settings)[attempt.engine].needed):
            return self._pass(attempt, choose.missing(wrong), began)
        if self._fitting.before(attempt):
            self.timeline.adapt(self._fitting.adapted)
            settings = self._fitting.settings(attempt.engine)
        adapter = self._engines(settings)[attempt.engine]
        # The last engine is always asked: a pod must not fail by heart.
        last = attempt == self._settings.config.attempts[-1]
        if not last and (refused := self._memory.recall(adapter.identity(attempt))):
            return refused
        command = told(adapter.command(attempt), settings)
        ready_line = asyncio.Event()
        listener = Listener(adapter, self.timeline, ready_line)
        self.log = EngineLog(listener)
        memory = oom.counts(self._settings.cgroup)
        self.argv = command.argv
        preload = Preload(command.preload, available_memory() // 2)
        preload.start()
        self._caches.release()
        self._caches = Caches(command.cache, command.maker)
        self._caches.use()
        child = self.child = await Child.start(command, self._reaper, self.log)
        listener.pulse = pulse = stall.Pulse(lambda: stall.work(child.pid), began)
        try:
            ready = await self._await_ready(child, ready_line, pulse)
        finally:
            preload.stop()
        if ready:
            await self._loras.begin(attempt)
            self.timeline.describe(await schema.ask(adapter, self._settings.config.serving_port, self._address()))
            self.timeline.reach(Stage.READY)
            self._caches.prune_aside()
            return None
        timed_out, now = not child.exited.done(), time.monotonic()
        await child.kill()
        ending = choose.Ending(
            child.exited.result(),
            now - began,
            tuple(self.log.lines),
            timed_out,
            stage=self.timeline.state.stage,
            stalled=pulse.quiet(now) if timed_out and self._hangs(pulse) else None,
            killed=None if timed_out else oom.between(memory, oom.counts(self._settings.cgroup)),
        )
        passed = self._pass(attempt, choose.cause(ending), began)
        self._memory.keep(adapter.identity(attempt), passed)
        return passed

    def _pass(self, attempt: Attempt, why: choose.Cause, began: float) -> Passed:
        """Remember why, for the attempts to come."""
        self._failed = [*(each for each in self._failed if each[0] != attempt), (attempt, why)]
        return choose.passed(attempt, why, time.monotonic() - began)

    def _hangs(self, pulse: stall.Pulse) -> bool:
        return pulse.quiet(time.monotonic()) >= self._settings.config.stall_seconds

    async def _await_ready(self, child: Child, moved: asyncio.Event, pulse: stall.Pulse) -> bool:
        """Poll the engine's health until it answers, ends, hangs, runs out of time or is to stop."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.config.start_seconds
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            while not child.exited.done() and not stopping.done() and loop.time() < deadline:
                if await self._healthy(1.0):
                    return not child.exited.done()
                if self._hangs(pulse):
                    return False
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
        child, began, memory = self._running(), time.monotonic(), oom.counts(self._settings.cgroup)
        health = asyncio.create_task(self._watch_health())
        loras = asyncio.create_task(self._loras.keep(attempt))
        stopping = asyncio.create_task(self.stopping.wait())
        events: list[asyncio.Future[Any]] = [child.exited, health, stopping]
        await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
        wedged = health.done() and not child.exited.done()
        health.cancel()
        loras.cancel()
        if stopping.done():
            await self._drain(child)
        stopping.cancel()
        await child.kill()
        ending = choose.Ending(
            child.exited.result(),
            time.monotonic() - began,
            tuple(self.log.lines),
            killed=oom.between(memory, oom.counts(self._settings.cgroup)),
        )
        died = choose.judge(attempt, ending)
        if wedged:  # killed here, so its exit code tells nothing
            died = died.model_copy(
                update={
                    "reason": Reason.ENGINE_FAILED,
                    "message": f"gave no health answer for {self._timing.wedged:.0f} s",
                }
            )
        return died.model_copy(update={"message": f"stopped while serving: {died.message}"[: choose.MAX_WORDS]})

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

    def _give_up(self, why: Passed) -> int:
        """The last word, in the state and in the termination message."""
        self.timeline.fail(why)
        write_last_word(self.timeline.state, self._settings.termination_log)
        log.error("no engine serves %s: %s", self._settings.config.model, why.message)
        return 1
