"""What engines hold of their accelerators, as JSON and for Prometheus. Pure: readings in, text out.

Only what the driver and the engine said: what neither knows is null, and is no sample.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from dormouse_api import metrics as names
from dormouse_router.insight import Reading


def reading(found: Reading) -> dict[str, Any]:
    """One engine."""
    return {
        "model": found.record.name,
        "namespace": found.record.namespace,
        "host": found.host,
        "backend": found.record.status.engine.name if found.record.status.engine else None,
        "device": found.record.status.device,
        "accelerators": [
            {
                "index": each.index,
                "memory_used_bytes": each.memory_used,
                "memory_total_bytes": each.memory_total,
                "utilization": each.utilization,
                "temperature_celsius": each.temperature,
                "warnings": each.warnings,
            }
            for each in found.accelerators
        ],
        "resident_bytes": found.resident,
        "kv_cache_used": found.cache_used,
        "requests_running": found.running,
        "requests_waiting": found.waiting,
        "error": found.error or None,
    }


def total(readings: Iterable[Reading]) -> dict[str, int] | None:
    """Memory of all accelerators that told theirs; None where none did."""
    known = [
        (each.memory_used, each.memory_total)
        for found in readings
        for each in found.accelerators
        if each.memory_used is not None and each.memory_total is not None
    ]
    if not known:
        return None
    return {"used_bytes": sum(used for used, _ in known), "total_bytes": sum(size for _, size in known)}


class _Readings(Collector):
    def __init__(self, readings: Sequence[Reading]) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        labels = ["model", "host"]
        for name, words, field in (
            (names.GPU_MEMORY_USED, "Memory in use.", "memory_used"),
            (names.GPU_MEMORY_TOTAL, "Memory there is.", "memory_total"),
            (names.GPU_UTILIZATION, "Share of time the device was busy.", "utilization"),
            (names.GPU_TEMPERATURE, "Temperature.", "temperature"),
        ):
            family = GaugeMetricFamily(name, words, labels=[*labels, "gpu"])
            for found in self._readings:
                for each in found.accelerators:
                    _add(family, [found.record.full_name, found.host, each.index], getattr(each, field))
            yield family
        for name, words, field in (
            (names.RUNTIME_RESIDENT_BYTES, "Memory of the engine's processes.", "resident"),
            (names.ENGINE_CACHE_USED, "Share of the KV cache in use.", "cache_used"),
            (names.ENGINE_RUNNING, "Requests the engine decodes.", "running"),
            (names.ENGINE_WAITING, "Requests the engine queues.", "waiting"),
        ):
            family = GaugeMetricFamily(name, words, labels=labels)
            for found in self._readings:
                _add(family, [found.record.full_name, found.host], getattr(found, field))
            yield family


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


def exposition(readings: Sequence[Reading]) -> tuple[bytes, str]:
    """The same for Prometheus: text and content type."""
    registry = CollectorRegistry()
    registry.register(_Readings(readings))
    return generate_latest(registry), CONTENT_TYPE_LATEST
