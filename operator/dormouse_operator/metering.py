"""Device-seconds and waiting of each model, worked out when Prometheus asks. Knows no cluster.

Counters that go on from the totals of the statuses: a restarted operator does not begin at zero.
"""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_api.status import Usage
from dormouse_operator.decide import accounting
from dormouse_operator.observed import Tally
from dormouse_operator.queue import Key


class Meter(Collector):
    """`tally`: what has been heard of a model's calls; `now`: seconds since the epoch."""

    def __init__(self, tally: Callable[[Key], Tally], now: Callable[[], float]) -> None:
        self._tally = tally
        self._now = now
        self._known: dict[Key, Usage] = {}

    def seen(self, key: Key, usage: Usage | None) -> None:
        """The model's totals as its status has them; None when it has none, or is gone."""
        if usage is None:
            self._known.pop(key, None)
        else:
            self._known[key] = usage

    def collect(self) -> Iterator[CounterMetricFamily]:
        devices = CounterMetricFamily(
            names.DEVICE_SECONDS,
            "Devices times seconds, held (awake), held with calls in flight (busy), left free by sleeping (saved)",
            labels=["namespace", "model", "resource", "state"],
        )
        waited = CounterMetricFamily(
            names.WAITED_SECONDS, "Seconds that callers were held, all together", labels=["namespace", "model"]
        )
        for key, known in self._known.items():
            total = accounting.running(known, self._tally(key), self._now())
            devices.add_metric([*key, total.resource, "awake"], total.awake_seconds)
            devices.add_metric([*key, total.resource, "busy"], total.busy_seconds)
            devices.add_metric([*key, total.resource, "saved"], total.saved_seconds)
            waited.add_metric([*key], total.waited_seconds)
        yield devices
        yield waited
