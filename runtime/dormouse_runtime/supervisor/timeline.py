"""The state of the runtime: its stage, what was tried, and when each stage began. One owner, many waiters.

Decides nothing. The supervisor's loop writes; the admin server reads and waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from dormouse_api.adapters import AdapterState
from dormouse_api.runtime import Adaptation, Attempt, Passed, RuntimeState, Stage, StageAt

ORDER = (Stage.STARTING, Stage.IMPORTING, Stage.LOADING, Stage.COMPILING, Stage.WARMING, Stage.READY)
MAX_ENTRIES = 64
"""Entries of the timeline that are kept: nine attempts' worth."""


class Timeline:
    """The one RuntimeState of this process, and an event for everyone who waits for it to change."""

    def __init__(self, model: str, commit: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._changed = asyncio.Event()
        self.healthy = True
        self.was_ready = False
        self.state = RuntimeState(
            stage=Stage.STARTING, model=model, commit=commit, timeline=(StageAt(stage=Stage.STARTING, at=clock()),)
        )

    @property
    def ready(self) -> bool:
        """A request sent now is answered."""
        return self.state.stage is Stage.READY and self.healthy

    def begin(self, attempt: Attempt) -> None:
        """A new process starts for `attempt`."""
        self._update(engine=attempt.engine.value, quantization=attempt.quantization)
        if self.state.stage is not Stage.STARTING:
            self._enter(Stage.STARTING)

    def reach(self, stage: Stage) -> None:
        """The engine has come to `stage`. Stages only go forward: engines repeat themselves in their logs."""
        if ORDER.index(stage) > self._place():
            self._enter(stage)

    def describe(self, input_schema: str | None) -> None:
        """What the engine that is about to serve takes."""
        self._update(input_schema=input_schema)

    def pass_over(self, passed: Passed) -> None:
        """An attempt came to nothing."""
        self._update(passed=(*self.state.passed, passed))

    def adapt(self, adapted: tuple[Adaptation, ...]) -> None:
        """Settings were made smaller; all of them, those of earlier starts included."""
        self._update(adapted=adapted)

    def restarted(self, times: int) -> None:
        """An engine that had served is being started again."""
        self._update(restarts=times)

    def adapted(self, adapters: tuple[AdapterState, ...]) -> None:
        """What came of the adapters on the list."""
        self._update(adapters=adapters)

    def drain(self) -> None:
        """No new requests from here on."""
        self._enter(Stage.DRAINING)

    def fail(self, failure: Passed) -> None:
        """Nothing is left to try."""
        self._update(failure=failure)
        self._enter(Stage.FAILED)

    def health(self, healthy: bool) -> None:
        """What the last health check of the serving engine said."""
        self.healthy = healthy
        self._wake()

    async def wait_ready(self, seconds: float) -> bool:
        """Wait for the first readiness, at most `seconds`; at once where there is nothing to wait for."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not self.ready and not self._hopeless():
            try:
                await asyncio.wait_for(self._changed.wait(), end - loop.time())
            except TimeoutError:
                break
        return self.ready

    def _hopeless(self) -> bool:
        """Not ready, and a held probe would hide it: failed, draining, wedged, or died after it had served."""
        return self.was_ready or self.state.stage in (Stage.FAILED, Stage.DRAINING)

    def _place(self) -> int:
        return ORDER.index(self.state.stage) if self.state.stage in ORDER else len(ORDER)

    def _enter(self, stage: Stage) -> None:
        if stage is Stage.READY:
            self.was_ready = self.healthy = True
        entry = StageAt(stage=stage, at=self._clock())
        self._update(stage=stage, timeline=(*self.state.timeline, entry)[-MAX_ENTRIES:])

    def _update(self, **fields: object) -> None:
        self.state = self.state.model_copy(update=fields)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
