"""What the router counts, and its exposition for Prometheus.

Counting is plain arithmetic on plain objects (the hot path pays a dictionary look-up, not a lock per metric); the
library sees the numbers only when somebody scrapes. Metric names live in `dormouse_api.metrics`.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_router.accounting.entries import LOSSES

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
BETWEEN_TOKENS = (0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)


class Histogram:
    """Observations of seconds, in the buckets of `bounds`."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = SECONDS) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        rows: list[tuple[str, float]] = []
        seen = 0
        for bound, count in zip([*map(str, self._bounds), "+Inf"], self.counts, strict=True):
            seen += count
            rows.append((bound, seen))
        return rows


class ModelStats:
    """The numbers of one model."""

    __slots__ = (
        "between_tokens",
        "first_byte",
        "first_token",
        "holds",
        "passed_over",
        "refused",
        "requests",
        "seconds",
        "tokens",
        "wakes",
    )

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        """By (dialect, status)."""
        self.seconds: dict[str, Histogram] = {}
        """By dialect."""
        self.first_byte = Histogram()
        self.first_token = Histogram()
        """Of streams, with their holds."""
        self.between_tokens = Histogram(BETWEEN_TOKENS)
        """Of streams, the mean of each."""
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

    def spent(self, prompt_tokens: int, completion_tokens: int) -> None:
        self.tokens[0] += prompt_tokens
        self.tokens[1] += completion_tokens

    def streamed(self, tokens: int, seconds: float) -> None:
        """A stream went on for so long after its first token."""
        if tokens > 1:
            self.between_tokens.observe(seconds / (tokens - 1))

    def held(self, outcome: str, seconds: float) -> None:
        self.holds.setdefault(outcome, Histogram()).observe(seconds)

    def refuse(self, reason: str) -> None:
        self.refused[reason] = self.refused.get(reason, 0) + 1


class Row(NamedTuple):
    """One model now."""

    model: str
    """Its full name."""
    stats: ModelStats
    in_flight: int
    held: int
    held_limit: int | None
    """None where the model is gone and its last calls are not."""


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
        self._webhook_tries: dict[str, int] = {}
        self._usage_lost = dict.fromkeys(LOSSES, 0)
        self.limits_hit: Mapping[tuple[str, str], int] = {}
        """By which limit and of what: counted by whoever lets callers in."""
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def watched(self, resource: str) -> None:
        self.watch_events[resource] = self.watch_events.get(resource, 0) + 1

    def webhook_tried(self, outcome: str) -> None:
        self._webhook_tries[outcome] = self._webhook_tries.get(outcome, 0) + 1

    def usage_lost(self, what: str, calls: int) -> None:
        self._usage_lost[what] += calls

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
        tries = CounterMetricFamily(names.WEBHOOK_TRIES, "Webhooks that were tried.", labels=["outcome"])
        for outcome, count in self._webhook_tries.items():
            tries.add_metric([outcome], count)
        yield tries
        hits = CounterMetricFamily(names.LIMITS_HIT, "Requests refused for a limit.", labels=["limit", "of"])
        for labels, count in self.limits_hit.items():
            hits.add_metric(labels, count)
        yield hits
        lost = CounterMetricFamily(names.USAGE_LOST, "Calls that are not in usage or audit.", labels=["what"])
        for what, count in self._usage_lost.items():
            lost.add_metric([what], count)
        yield lost


def _counters(rows: list[Row]) -> Iterator[Metric]:
    requests = CounterMetricFamily(names.REQUESTS, "Calls answered.", labels=["model", "dialect", "code"])
    refused = CounterMetricFamily(names.REFUSED, "Calls refused before an engine saw them.", labels=["model", "reason"])
    wakes = CounterMetricFamily(names.WAKES, "Wakes begun.", labels=["model"])
    passed = CounterMetricFamily(names.PASSED_OVER, "Engines that could not be reached.", labels=["model"])
    tokens = CounterMetricFamily(names.TOKENS, "Tokens the engines reported.", labels=["model", "kind"])
    for model, stats, *_ in rows:
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
    limit = GaugeMetricFamily(names.HELD_LIMIT, "Calls that may wait for their model at most.", labels=["model"])
    for row in rows:
        in_flight.add_metric([row.model], row.in_flight)
        held.add_metric([row.model], row.held)
        if row.held_limit is not None:
            limit.add_metric([row.model], row.held_limit)
    yield from (in_flight, held, limit)


def _histograms(rows: list[Row]) -> Iterator[Metric]:
    seconds = HistogramMetricFamily(names.REQUEST_SECONDS, "Whole calls.", labels=["model", "dialect"])
    first = HistogramMetricFamily(names.FIRST_BYTE_SECONDS, "To the engine's first byte, with holds.", labels=["model"])
    tokens = HistogramMetricFamily(
        names.FIRST_TOKEN_SECONDS, "To a stream's first token, with holds.", labels=["model"]
    )
    between = HistogramMetricFamily(
        names.INTER_TOKEN_SECONDS, "Between the tokens of a stream, the mean of each.", labels=["model"]
    )
    holds = HistogramMetricFamily(names.HOLD_SECONDS, "Holds.", labels=["model", "outcome"])
    for model, stats, *_ in rows:
        for dialect, histogram in stats.seconds.items():
            seconds.add_metric([model, dialect], histogram.buckets(), histogram.total)
        first.add_metric([model], stats.first_byte.buckets(), stats.first_byte.total)
        tokens.add_metric([model], stats.first_token.buckets(), stats.first_token.total)
        between.add_metric([model], stats.between_tokens.buckets(), stats.between_tokens.total)
        for outcome, histogram in stats.holds.items():
            holds.add_metric([model, outcome], histogram.buckets(), histogram.total)
    yield from (seconds, first, tokens, between, holds)
