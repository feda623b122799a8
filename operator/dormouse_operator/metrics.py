"""The operator's own Prometheus metrics, in a registry of its own. Names are `dormouse_api.metrics`'."""

from collections import Counter as Count
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_api.ahead import Prewarm
from dormouse_api.status import InferenceModelStatus, Usage
from dormouse_operator.decide import coldstart, swaps
from dormouse_operator.metering import Meter
from dormouse_operator.observed import Tally
from dormouse_operator.queue import Key, WorkQueue

START_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200)
"""Seconds; of starts and of their stages. Labelled by engine and stage, never by model: with 1,000 models that would be
150,000 series for what the status of each tells of its last starts anyway."""


class Metrics:
    """Counters of one operator."""

    def __init__(self, queue: WorkQueue) -> None:
        self.registry = CollectorRegistry()
        self._looks = Counter(names.RECONCILES, "Looks at models by result", ["result"], registry=self.registry)
        self._seconds = Histogram(
            names.RECONCILE_SECONDS,
            "Seconds of one look",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self._writes = Counter(names.API_WRITES, "Writes to the API server", ["kind", "verb"], registry=self.registry)
        self._models = Gauge(names.MODELS, "Models by the reason of Ready", ["reason"], registry=self.registry)
        self._gauge(names.QUEUE_DEPTH, "Models waiting for a look", queue.depth)
        self._gauge(names.QUEUE_OLDEST_SECONDS, "Longest wait for a look", queue.oldest_waiting)
        self._start = Histogram(
            names.START_SECONDS,
            "Seconds from the wish to readiness",
            ["engine"],
            buckets=START_BUCKETS,
            registry=self.registry,
        )
        self._stage = Histogram(
            names.START_STAGE_SECONDS,
            "Seconds of each stage of a start",
            ["stage", "engine"],
            buckets=START_BUCKETS,
            registry=self.registry,
        )
        self._swap = Histogram(
            names.SWAP_SECONDS,
            "Seconds from asking a model to make room until its successor served",
            buckets=START_BUCKETS,
            registry=self.registry,
        )
        self._line = Histogram(
            names.LINE_WAIT_SECONDS,
            "Seconds in the line for an accelerator, until it served, or for a pull, until it began",
            ["line"],
            buckets=(1, 2, 5, 10, 20, 40, 60, 120, 300, 600, 1200, 3600, 4 * 3600),
            registry=self.registry,
        )
        self._leader = Gauge(names.LEADER, "1 where this operator acts, 0 where it stands by", registry=self.registry)
        self._ahead = Counter(
            names.PREWARM_STARTS, "Starts ahead of calls that are over", ["outcome"], registry=self.registry
        )
        self._saved = Counter(names.PREWARM_SAVED_SECONDS, "Waiting that starts ahead spared", registry=self.registry)
        self._spent = Counter(names.PREWARM_SPENT_SECONDS, "Awake ahead of the first call", registry=self.registry)
        self._meter: Meter | None = None
        self._reasons: dict[Key, str] = {}

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)

    def leads(self) -> None:
        """This operator acts from now on."""
        self._leader.set(1)

    def wrote(self, kind: str, verb: str) -> None:
        """One write request was sent."""
        self._writes.labels(kind, verb).inc()

    def looked(self, result: str, seconds: float) -> None:
        """One look ended."""
        self._looks.labels(result).inc()
        self._seconds.observe(seconds)

    def told(self, old: InferenceModelStatus, new: InferenceModelStatus, at: float) -> None:
        """A status was written."""
        for swap in swaps.news(old.swaps, new.swaps):
            self._swap.observe(swap.seconds)
        for line, seconds in swaps.waited(old, new, at).items():
            self._line.labels(line).observe(seconds)
        for start in coldstart.news(old.cold_starts, new.cold_starts):
            self._start.labels(start.engine).observe(coldstart.total(start))
            for stage, seconds in coldstart.spans(start).items():
                self._stage.labels(stage, start.engine).observe(seconds)
        for engine, answers in coldstart.first_tokens(old.cold_starts, new.cold_starts).items():
            for seconds in answers:
                self._stage.labels(coldstart.FIRST_TOKEN, engine).observe(seconds)
        before, now = old.prewarm or Prewarm(), new.prewarm or Prewarm()
        self._ahead.labels("used").inc(max(0, now.used - before.used))
        self._ahead.labels("unused").inc(max(0, now.unused - before.unused))
        self._saved.inc(max(0, now.seconds_saved - before.seconds_saved))
        self._spent.inc(max(0, now.seconds_spent - before.seconds_spent))

    def model(self, key: Key, reason: str | None) -> None:
        """The model's Ready reason now; None when it is gone."""
        if self._reasons.get(key) == reason:
            return
        self._reasons.pop(key, None)
        if reason is not None:
            self._reasons[key] = reason
        count = Count(self._reasons.values())
        self._models.clear()
        for each, number in count.items():
            self._models.labels(each).set(number)

    def measure(self, tally: Callable[[Key], Tally], now: Callable[[], float]) -> None:
        """Tell from now on what models cost. `tally`: what has been heard of a model's calls; `now`: the epoch's."""
        self._meter = Meter(tally, now)
        self.registry.register(self._meter)

    def also(self, collector: Collector) -> None:
        """Tell from now on what `collector` knows."""
        self.registry.register(collector)

    def usage(self, key: Key, usage: Usage | None) -> None:
        """The model's totals as its status has them; None when it is gone."""
        if self._meter is not None:
            self._meter.seen(key, usage)

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
