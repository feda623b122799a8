"""What the working child tells pid 1: one line of standard output per message, a mark and JSON."""

from __future__ import annotations

import time
from collections.abc import Callable

from dormouse_api.results import Failure, Progress, QuantizeResult

PROGRESS = "[dormouse] progress "
RESULT = "[dormouse] result "
FAILURE = "[dormouse] failure "


def tell(mark: str, message: Progress | QuantizeResult | Failure) -> None:
    """Say it."""
    print(mark + message.model_dump_json(exclude_none=True), flush=True)  # noqa: T201 - the line is the message


class Meter:
    """Tells of progress, at most two hundred times."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._done, self._told = total, 0, 0
        self._clock = clock
        self._began = clock()

    def add(self, count: int, file: str) -> None:
        """So many bytes of the source are done."""
        self._done += count
        if self._done - self._told >= max(self._total // 200, 1) or self._done >= self._total:
            self._told = self._done
            self._tell("quantizing", file)

    def stage(self, name: str) -> None:
        self._tell(name, None)

    def _tell(self, stage: str, file: str | None) -> None:
        rate = self._done / max(self._clock() - self._began, 1e-3)
        eta = round((self._total - self._done) / rate, 1) if rate and stage == "quantizing" else None
        tell(
            PROGRESS,
            Progress(
                stage=stage,
                bytes=min(self._done, self._total),
                total=self._total,
                bytes_per_second=round(rate, 1),
                eta_seconds=eta,
                file=file,
            ),
        )
