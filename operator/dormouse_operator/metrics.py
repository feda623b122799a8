"""The operator's own Prometheus metrics, in a registry of its own. Names are `dormouse_api.metrics`'."""

from collections import Counter as Count
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dormouse_api import metrics as names
from dormouse_operator.queue import Key, WorkQueue


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
        self._reasons: dict[Key, str] = {}

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)

    def wrote(self, kind: str, verb: str) -> None:
        """One write request was sent."""
        self._writes.labels(kind, verb).inc()

    def looked(self, result: str, seconds: float) -> None:
        """One look ended."""
        self._looks.labels(result).inc()
        self._seconds.observe(seconds)

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

    def text(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)
