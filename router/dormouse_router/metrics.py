"""What the router counts, and its exposition for Prometheus.

Counting is plain arithmetic on plain objects (the hot path pays a dictionary look-up, not a lock per metric); the
library sees the numbers only when somebody scrapes. Metric names live in `dormouse_api.metrics`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from dormouse_api import metrics as names

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class Histogram:
    """Observations of seconds, in the buckets of `SECONDS`."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        rows: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip([*map(str, SECONDS), "+Inf"], self.counts, strict=True):
            seen += count
            rows.append((bound, seen))
        return rows


class ModelStats:
    """The numbers of one model."""

    __slots__ = ("first_byte", "holds", "passed_over", "refused", "requests", "seconds", "tokens", "wakes")

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        """By (dialect, status)."""
        self.seconds: dict[str, Histogram] = {}
        """By dialect."""
        self.first_byte = Histogram()
        self.holds: dict[str, Histogram] = {}
        """By outcome: awake, refused or left."""
        self.refused: dict[str, int] = {}
        """By reason."""
        self.tokens = [0, 0]
        """Prompt and completion."""
        self.wakes = 0
        self.passed_over = 0
        """Times an engine of it could not be reached."""

    def answered(self, dialect: str, status: int, seconds: float) -> None:
        """A call ended with this status after this long."""
        key = (dialect, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.seconds.get(dialect)
        if histogram is None:
            self.seconds[dialect] = histogram = Histogram()
        histogram.observe(seconds)

    def held(self, outcome: str, seconds: float) -> None:
        self.holds.setdefault(outcome, Histogram()).observe(seconds)

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


Row = tuple[str, ModelStats, int, int]
"""A model's full name, its numbers, and how many calls are in flight and held now."""


class RouteRows(Protocol):
    """The numbers of the routes (`dataplane.routed.Routing`)."""

    def answers(self) -> Iterable[tuple[str, str, int, int]]:
        """(route, variant, status, how often)."""
        ...

    def fallbacks(self) -> Iterable[tuple[str, str, int]]:
        """(route, variant that could not serve, how often another did)."""
        ...


class Metrics(Collector):
    """The router's numbers, under one registry."""

    def __init__(self, rows: Callable[[], Iterable[Row]], routes: RouteRows) -> None:
        self._rows, self._routes = rows, routes
        self.lease_writes = 0
        self.watch_events: dict[str, int] = {}
        self.unknown_model = 0
        """Calls for models that do not exist; their names are the callers' and no labels."""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def watched(self, resource: str) -> None:
        self.watch_events[resource] = self.watch_events.get(resource, 0) + 1

    def exposition(self) -> tuple[bytes, str]:
        """The text of /metrics and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on what was called."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        rows = list(self._rows())
        yield from _counters(rows)
        yield from _gauges(rows)
        yield from _histograms(rows)
        yield from _routes(self._routes)
        writes = CounterMetricFamily(names.LEASE_WRITES, "Writes of leases.")
        writes.add_metric([], self.lease_writes)
        yield writes
        events = CounterMetricFamily(names.WATCH_EVENTS, "Lists and events from the API server.", labels=["resource"])
        for resource, count in self.watch_events.items():
            events.add_metric([resource], count)
        yield events
        unknown = CounterMetricFamily(names.UNKNOWN_MODEL, "Calls for models that do not exist.")
        unknown.add_metric([], self.unknown_model)
        yield unknown


def _counters(rows: list[Row]) -> Iterator[Metric]:
    requests = CounterMetricFamily(names.REQUESTS, "Calls answered.", labels=["model", "dialect", "code"])
    refused = CounterMetricFamily(names.REFUSED, "Calls refused before an engine saw them.", labels=["model", "reason"])
    wakes = CounterMetricFamily(names.WAKES, "Wakes begun.", labels=["model"])
    passed = CounterMetricFamily(names.PASSED_OVER, "Engines that could not be reached.", labels=["model"])
    tokens = CounterMetricFamily(names.TOKENS, "Tokens the engines reported.", labels=["model", "kind"])
    for model, stats, _, _ in rows:
        for (dialect, code), count in stats.requests.items():
            requests.add_metric([model, dialect, str(code)], count)
        for reason, count in stats.refused.items():
            refused.add_metric([model, reason], count)
        wakes.add_metric([model], stats.wakes)
        passed.add_metric([model], stats.passed_over)
        for kind, count in zip(("prompt", "completion"), stats.tokens, strict=True):
            tokens.add_metric([model, kind], count)
    yield from (requests, refused, wakes, passed, tokens)


def _routes(routes: RouteRows) -> Iterator[Metric]:
    answers = CounterMetricFamily(
        names.ROUTE_REQUESTS, "Calls by a route, by who answered.", labels=["route", "variant", "code"]
    )
    for route, variant, status, count in routes.answers():
        answers.add_metric([route, variant, str(status)], count)
    fallbacks = CounterMetricFamily(
        names.ROUTE_FALLBACKS, "Calls answered by another because this variant could not.", labels=["route", "variant"]
    )
    for route, variant, count in routes.fallbacks():
        fallbacks.add_metric([route, variant], count)
    yield from (answers, fallbacks)


def _gauges(rows: list[Row]) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily(names.IN_FLIGHT, "Calls at an engine now.", labels=["model"])
    held = GaugeMetricFamily(names.HELD, "Calls waiting for their model to wake.", labels=["model"])
    for model, _, flying, waiting in rows:
        in_flight.add_metric([model], flying)
        held.add_metric([model], waiting)
    yield from (in_flight, held)


def _histograms(rows: list[Row]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(names.REQUEST_SECONDS, "Whole calls.", labels=["model", "dialect"])
    first = HistogramMetricFamily(names.FIRST_BYTE_SECONDS, "To the engine's first byte, with holds.", labels=["model"])
    holds = HistogramMetricFamily(names.HOLD_SECONDS, "Holds.", labels=["model", "outcome"])
    for model, stats, _, _ in rows:
        for dialect, histogram in stats.seconds.items():
            seconds.add_metric([model, dialect], histogram.buckets(), histogram.total)
        first.add_metric([model], stats.first_byte.buckets(), stats.first_byte.total)
        for outcome, histogram in stats.holds.items():
            holds.add_metric([model, outcome], histogram.buckets(), histogram.total)
    yield from (seconds, first, holds)
