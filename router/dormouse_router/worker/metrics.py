"""What the worker counts, and its exposition for Prometheus. Names are in `dormouse_api.metrics`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_router.batch.forecast import Forecast, Unended
from dormouse_router.batch.lifecycle import Usage

NOTHING = Forecast(None, 0)


@dataclass(slots=True)
class ModelNumbers:
    """Of one model, since this worker began."""

    lines: dict[str, int] = field(default_factory=lambda: {"completed": 0, "failed": 0})
    again: dict[str, int] = field(default_factory=dict)
    """Attempts that came to nothing, by why."""
    used: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    waited: float = 0.0

    def tokens(self, usage: Usage) -> None:
        self.used["prompt"] += usage.input
        self.used["completion"] += usage.output


class Row(NamedTuple):
    """One model now."""

    model: str
    numbers: ModelNumbers
    flying: int
    window: int


@dataclass(frozen=True, slots=True)
class Overview:
    """Of all batches, whoever works on them."""

    batches: Sequence[Unended] = ()
    open: Mapping[str, int] = field(default_factory=dict)
    """Lines by model."""
    forecast: Forecast = NOTHING


class Metrics(Collector):
    """The worker's numbers, under one registry."""

    def __init__(self, rows: Callable[[], Iterable[Row]]) -> None:
        self._rows = rows
        self.overview = Overview()
        self.duties: dict[str, int] = {}
        """Batches looked after, by what was done."""
        self.lost = 0
        """Chunks that became somebody else's."""
        self.restarts = 0
        """Workers that this container had before this one."""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def exposition(self) -> tuple[bytes, str]:
        """The text of /metrics and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on what was asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        rows = list(self._rows())
        yield from _counters(rows)
        yield from _gauges(rows)
        yield from _overview(self.overview)
        duties = CounterMetricFamily(names.BATCH_DUTIES, "Batches validated and ended.", labels=["task"])
        for task, count in self.duties.items():
            duties.add_metric([task], count)
        yield duties
        lost = CounterMetricFamily(names.BATCH_CHUNKS_LOST, "Chunks of lines that became another worker's.")
        lost.add_metric([], self.lost)
        yield lost
        restarts = CounterMetricFamily(names.BATCH_WORKER_RESTARTS, "Times the worker ended and was begun again.")
        restarts.add_metric([], self.restarts)
        yield restarts


def _counters(rows: list[Row]) -> Iterator[Metric]:
    lines = CounterMetricFamily(names.BATCH_LINES, "Lines of batches answered.", labels=["model", "outcome"])
    again = CounterMetricFamily(names.BATCH_AGAIN, "Attempts that are made again.", labels=["model", "reason"])
    tokens = CounterMetricFamily(names.BATCH_TOKENS, "Tokens of batches.", labels=["model", "kind"])
    waited = CounterMetricFamily(names.BATCH_SWAP_SECONDS, "Seconds that batches waited for models.", labels=["model"])
    for row in rows:
        for kind, count in row.numbers.lines.items():
            lines.add_metric([row.model, kind], count)
        for reason, count in row.numbers.again.items():
            again.add_metric([row.model, reason], count)
        for kind, count in row.numbers.used.items():
            tokens.add_metric([row.model, kind], count)
        waited.add_metric([row.model], row.numbers.waited)
    yield from (lines, again, tokens, waited)


def _gauges(rows: list[Row]) -> Iterator[Metric]:
    flying = GaugeMetricFamily(names.BATCH_IN_FLIGHT, "Lines being asked now.", labels=["model"])
    window = GaugeMetricFamily(names.BATCH_WINDOW, "Most lines that may be asked at once.", labels=["model"])
    for row in rows:
        flying.add_metric([row.model], row.flying)
        window.add_metric([row.model], row.window)
    yield from (flying, window)


def _overview(seen: Overview) -> Iterator[Metric]:
    batches = GaugeMetricFamily(names.BATCHES, "Batches that have not ended.", labels=["status"])
    for status, count in Counter(batch.status for batch in seen.batches).items():
        batches.add_metric([str(status)], count)
    late = GaugeMetricFamily(names.BATCHES_LATE, "Batches that will not be done when their window ends.")
    late.add_metric([], seen.forecast.late)
    eta = GaugeMetricFamily(names.BATCH_ETA_SECONDS, "Until the last open line is answered.")
    if seen.forecast.eta is not None:
        eta.add_metric([], seen.forecast.eta)
    lines = GaugeMetricFamily(names.BATCH_LINES_OPEN, "Lines that wait for an answer.", labels=["model"])
    for model, count in seen.open.items():
        lines.add_metric([model], count)
    yield from (batches, late, eta, lines)
