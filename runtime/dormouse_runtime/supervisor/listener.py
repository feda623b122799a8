"""What happens with each line of an engine: the pod's log, the stage, its pulse, and a nudge to ask for its health."""

from __future__ import annotations

import asyncio

from dormouse_runtime.engines.base import Adapter
from dormouse_runtime.supervisor import stall
from dormouse_runtime.supervisor.child import on_standard_output
from dormouse_runtime.supervisor.timeline import Timeline


class Listener:
    """One engine process's listener; `moved` is set where a line told of a new stage."""

    def __init__(self, adapter: Adapter, timeline: Timeline, moved: asyncio.Event) -> None:
        self._adapter, self._timeline, self._moved = adapter, timeline, moved
        self._echo = on_standard_output()
        self.pulse: stall.Pulse | None = None

    def __call__(self, line: str) -> None:
        self._echo(line)
        if self.pulse is not None:
            self.pulse.heard(line)
        stage = self._adapter.stage_of(line)
        if stage is not None:
            self._timeline.reach(stage)
            self._moved.set()
