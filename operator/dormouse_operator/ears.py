"""Who hears of looks and written statuses, and hands them on to metrics and Events. Decides nothing."""

import time
from collections.abc import Callable

from dormouse_api.conditions import ConditionType
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.decide import coldstart
from dormouse_operator.events import Recorder
from dormouse_operator.happenings import happenings, started
from dormouse_operator.metrics import Metrics
from dormouse_operator.observed import Model
from dormouse_operator.queue import Key
from dormouse_operator.standing import Standing


class Ears:
    """Hears of looks and written statuses, and hands them to metrics and events."""

    def __init__(
        self, metrics: Metrics, standing: Standing, recorder: Recorder, now: Callable[[], float] = time.time
    ) -> None:
        self._metrics, self._standing = metrics, standing
        self._recorder = recorder
        self._now = now

    def met(self, model: Model) -> None:
        """A model is seen for the first time: what a process before this one may not have told is told."""
        for start in coldstart.lately(model.status.cold_starts, self._now()):
            self._recorder.record(model, started(start))

    def told(self, model: Model, new: InferenceModelStatus) -> None:
        """A status was written."""
        for happening in happenings(model.name, model.status, new):
            self._recorder.record(model, happening)
        self._metrics.told(model.status, new, self._now())
        self._standing.told(Key(model.namespace, model.name), model.status, new)

    def seen(self, key: Key, status: InferenceModelStatus) -> None:
        """A model was looked at."""
        ready = next((c for c in status.conditions or () if c.type == ConditionType.READY.value), None)
        self._metrics.model(key, ready.reason if ready else None)
        self._metrics.usage(key, status.usage)
        self._standing.seen(key, status)

    def gone(self, key: Key) -> None:
        """A model is no more."""
        self._metrics.model(key, None)
        self._metrics.usage(key, None)
        self._standing.gone(key)

    def looked(self, result: str, seconds: float) -> None:
        """A look ended."""
        self._metrics.looked(result, seconds)
