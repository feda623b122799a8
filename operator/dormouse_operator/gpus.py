"""Asks ready pods of profiles with GPUs what their devices say, and keeps the last answers. Decides nothing.

A model gets a look when its devices warn of something else than before. Where no profile has a GPU nobody is asked.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping

import aiohttp
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from pydantic import ValidationError

from dormouse_api import metrics as names
from dormouse_api.gpu import GpuReport
from dormouse_api.names import PORT_ADMIN
from dormouse_operator.queue import Key

log = logging.getLogger(__name__)

EVERY_SECONDS = 10.0
AT_ONCE = 16
SECONDS = 2.0
LARGEST_ANSWER = 256 * 1024

Hosts = Mapping[str, str]
"""Pod → address."""
Reports = Mapping[str, GpuReport]
"""Pod → what it said last."""


class Gpus:
    """One per process."""

    def __init__(self, changed: Callable[[Key], None], every: float = EVERY_SECONDS, port: int = PORT_ADMIN) -> None:
        self._changed, self._every, self._port = changed, every, port
        self._hosts: dict[Key, Hosts] = {}
        self._reports: dict[Key, dict[str, GpuReport]] = {}
        self._gate = asyncio.Semaphore(AT_ONCE)

    def watch(self, key: Key, hosts: Hosts) -> None:
        """The ready pods of the model that have GPUs, by name; none ends the asking."""
        if hosts:
            self._hosts[key] = hosts
            known = self._reports.get(key, {})
            self._reports[key] = {pod: known[pod] for pod in hosts if pod in known}
        else:
            self._hosts.pop(key, None)
            self._reports.pop(key, None)

    def of(self, key: Key) -> Reports | None:
        """What the model's pods said; None while one of them has not been heard, as after a restart."""
        hosts = self._hosts.get(key, {})
        known = self._reports.get(key, {})
        return known if set(hosts) <= set(known) else None

    def all(self) -> Iterator[tuple[Key, str, GpuReport]]:
        """Every answer."""
        for key, reports in self._reports.items():
            for pod, report in reports.items():
                yield key, pod, report

    async def run(self) -> None:
        """Ask until cancelled."""
        timeout = aiohttp.ClientTimeout(total=SECONDS, sock_connect=1)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False, auto_decompress=False) as session:
            while True:
                asked = [(key, pod, host) for key, hosts in self._hosts.items() for pod, host in hosts.items()]
                await asyncio.gather(*(self._one(session, *each) for each in asked))
                await asyncio.sleep(self._every)

    async def _one(self, session: aiohttp.ClientSession, key: Key, pod: str, host: str) -> None:
        """One pod. What does not answer said last what it said: a device may be lost, and its pod hang for that."""
        url = f"http://[{host}]:{self._port}/gpus" if ":" in host else f"http://{host}:{self._port}/gpus"
        async with self._gate:
            try:
                async with session.get(url, allow_redirects=False) as response:
                    response.raise_for_status()
                    body = await response.content.read(LARGEST_ANSWER + 1)
                    while len(body) <= LARGEST_ANSWER and (more := await response.content.read(LARGEST_ANSWER)):
                        body += more
                if len(body) > LARGEST_ANSWER:
                    raise ValueError(f"more than {LARGEST_ANSWER} bytes")
                report = GpuReport.model_validate_json(body)
            except (aiohttp.ClientError, TimeoutError, OSError, ValidationError, ValueError) as error:
                log.debug("%s: %s does not tell of its GPUs: %r", key, url, error)
                return
        if pod not in self._hosts.get(key, {}):
            return  # gone meanwhile
        before = self._reports.setdefault(key, {}).get(pod)
        self._reports[key][pod] = report
        if _standing(before) != _standing(report):
            self._changed(key)


def _standing(report: GpuReport | None) -> set[tuple[str, str]] | None:
    if report is None:
        return None
    return {(reading.gpu, warned.kind.value) for reading in report.gpus for warned in reading.warnings}


class GpuMeter(Collector):
    """What the pods said last, as metrics."""

    def __init__(self, gpus: Gpus) -> None:
        self._gpus = gpus

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = ["namespace", "model", "pod", "gpu"]
        fields = {
            "memory_used": GaugeMetricFamily(names.POD_GPU_MEMORY_USED, "Memory in use on a pod's GPU", labels=labels),
            "memory_total": GaugeMetricFamily(names.POD_GPU_MEMORY_TOTAL, "Memory of a pod's GPU", labels=labels),
            "utilization": GaugeMetricFamily(
                names.POD_GPU_UTILIZATION, "Share of time a pod's GPU was busy", labels=labels
            ),
            "temperature": GaugeMetricFamily(names.POD_GPU_TEMPERATURE, "Temperature of a pod's GPU", labels=labels),
        }
        warning = GaugeMetricFamily(
            names.POD_GPU_WARNING, "1 for each warning of a GPU that stands", labels=[*labels, "kind"]
        )
        for key, pod, report in self._gpus.all():
            for reading in report.gpus:
                where = [key.namespace, key.name, pod, reading.gpu]
                for field, family in fields.items():
                    if (value := getattr(reading, field)) is not None:
                        family.add_metric(where, value)
                for warned in reading.warnings:
                    warning.add_metric([*where, warned.kind.value], 1)
        yield from fields.values()
        yield warning
