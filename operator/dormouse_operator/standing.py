"""What stands with each model, and how its pulls go, as metrics. Made of statuses, so it survives a restart.

Only what an alert needs by its model has the model as a label: those that fail, pulls under way, and starts of the last
hour, few of which there are at a time. Knows no cluster.
"""

import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_api.conditions import PULL_FAILURES, ConditionType, Reason, is_failure
from dormouse_api.lease import parse_time
from dormouse_api.status import Condition, InferenceModelStatus
from dormouse_operator.decide import coldstart
from dormouse_operator.queue import Key

TOLD_SECONDS = 3600.0
"""How long a start is told of."""
PULL_BUCKETS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0, 14400.0)
MODEL = ("namespace", "model")


@dataclass(frozen=True)
class _Start:
    served_at: float
    seconds: float
    usual: float | None


@dataclass(frozen=True)
class _Model:
    failing: str | None
    pull: tuple[int, int] | None
    """Bytes that are there, and all of them."""
    start: _Start | None


class Standing(Collector):
    """`now`: seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._models: dict[Key, _Model] = {}
        self._began: dict[Key, float] = {}
        # all of them from the start: of a counter that appears with 1 nobody sees it grow
        self._pulls = dict.fromkeys((Reason.PULLED.value, *sorted(reason.value for reason in PULL_FAILURES)), 0)
        self._bytes = 0
        self._buckets = [0] * (len(PULL_BUCKETS) + 1)
        self._seconds = 0.0

    def told(self, key: Key, old: InferenceModelStatus, new: InferenceModelStatus) -> None:
        """A status was written."""
        if new.pull is not None and old.pull is None:
            self._began[key] = self._now()
        if _condition(new, ConditionType.MODEL_PULLED, "True") and not _condition(
            old, ConditionType.MODEL_PULLED, "True"
        ):
            self._pulls[Reason.PULLED.value] += 1
            self._bytes += new.bytes or 0
            if (began := self._began.pop(key, None)) is not None:
                self._took(self._now() - began)
        reason = _failing(new)
        if reason != _failing(old) and reason in self._pulls:
            self._pulls[reason] += 1
            self._began.pop(key, None)

    def seen(self, key: Key, status: InferenceModelStatus) -> None:
        """A model was looked at."""
        ready = _condition(status, ConditionType.READY)
        pulling = ready is not None and ready.reason == Reason.PULLING.value and status.pull is not None
        self._models[key] = _Model(
            failing=_failing(status),
            pull=(status.pull.bytes, status.pull.total) if pulling and status.pull is not None else None,
            start=_last(status),
        )

    def gone(self, key: Key) -> None:
        """A model is no more."""
        self._models.pop(key, None)
        self._began.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        failing = GaugeMetricFamily(
            names.MODEL_FAILING, "1 for each model that cannot serve", labels=[*MODEL, "reason"]
        )
        there = GaugeMetricFamily(names.PULL_BYTES, "Bytes that a pull under way has", labels=MODEL)
        total = GaugeMetricFamily(names.PULL_TOTAL_BYTES, "Bytes that a pull under way will have", labels=MODEL)
        last = GaugeMetricFamily(
            names.LAST_START_SECONDS, "Seconds of a model's last start, if it was within the hour", labels=MODEL
        )
        usual = GaugeMetricFamily(names.USUAL_START_SECONDS, "Median seconds of the starts before it", labels=MODEL)
        since = self._now() - TOLD_SECONDS
        for key, model in self._models.items():
            if model.failing is not None:
                failing.add_metric([*key, model.failing], 1)
            if model.pull is not None:
                there.add_metric([*key], model.pull[0])
                total.add_metric([*key], model.pull[1])
            if model.start is not None and model.start.served_at > since:
                last.add_metric([*key], model.start.seconds)
                if model.start.usual is not None:
                    usual.add_metric([*key], model.start.usual)
        yield from (failing, there, total, last, usual)
        yield from self._of_pulls()

    def _of_pulls(self) -> Iterator[Metric]:
        pulls = CounterMetricFamily(names.PULLS, "Pulls that ended, by what became of them", labels=["result"])
        for result, count in self._pulls.items():
            pulls.add_metric([result], count)
        fetched = CounterMetricFamily(names.PULLED_BYTES, "Bytes of the weights that were pulled")
        fetched.add_metric([], self._bytes)
        took = HistogramMetricFamily(names.PULL_SECONDS, "Seconds of the pulls that this process saw begin and end")
        rows, count = [], 0
        for bound, within in zip([*map(str, PULL_BUCKETS), "+Inf"], self._buckets, strict=True):
            count += within
            rows.append((bound, count))
        took.add_metric([], rows, self._seconds)
        yield from (pulls, fetched, took)

    def _took(self, seconds: float) -> None:
        self._buckets[bisect.bisect_left(PULL_BUCKETS, seconds)] += 1
        self._seconds += seconds


def _condition(status: InferenceModelStatus, kind: ConditionType, value: str | None = None) -> Condition | None:
    found = next((c for c in status.conditions or () if c.type == kind.value), None)
    return found if found is not None and value in (None, found.status) else None


def _failing(status: InferenceModelStatus) -> str | None:
    ready = _condition(status, ConditionType.READY, "False")
    return ready.reason if ready is not None and is_failure(ready.reason) else None


def _last(status: InferenceModelStatus) -> _Start | None:
    if not status.cold_starts:
        return None
    start = status.cold_starts[-1]
    seconds = coldstart.total(start)
    return _Start(parse_time(start.at) + seconds, seconds, coldstart.usual(status.cold_starts))
