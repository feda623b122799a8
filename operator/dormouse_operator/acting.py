"""The operator that acts: watches, workers and pollers put together, and every task watched. Knows no election."""

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from dormouse_operator import ops, watch
from dormouse_operator.children import Children
from dormouse_operator.demand import Demands
from dormouse_operator.ears import Ears
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.events import Recorder
from dormouse_operator.expiry import Expiries
from dormouse_operator.gpus import GpuMeter
from dormouse_operator.kube import Kube
from dormouse_operator.metrics import Metrics
from dormouse_operator.pods import Pods
from dormouse_operator.queue import WorkQueue, work
from dormouse_operator.reconcile import Parts, Reconciler
from dormouse_operator.settings import Settings
from dormouse_operator.standing import Standing

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)

DRAIN_SECONDS = 3.0
"""Looks take milliseconds: one that is under way may finish, so that its writes come before the next leader's."""


class Acting:
    """Everything that a leader runs and a standby does not. `start`, watch `tasks`, then `end`."""

    def __init__(
        self,
        settings: Settings,
        kube: Kube,
        metrics: Metrics,
        queue: WorkQueue,
        instance: str,
        tracer: "Tracer | None" = None,
    ) -> None:
        self._settings, self._kube, self._queue = settings, kube, queue
        self._pods = Pods(queue.add, settings.poll_seconds)
        self._recorder = Recorder(kube, instance)
        self._demands = Demands(settings.router_ops, queue.add, settings.demand_seconds)
        metrics.measure(self._demands.tally, time.time)
        standing = Standing(time.time)
        for collector in (GpuMeter(self._pods.gpus), standing, Expiries(settings.egress.ca_certificates)):
            metrics.also(collector)
        parts = Parts(kube, queue, self._pods, self._demands, Ears(metrics, standing, self._recorder))
        self._reconciler = _reconciler(settings, parts, tracer)
        self._resync = asyncio.Event()
        self._events = watch.Watch(queue, self._profile_changed)
        self._kopf = watch.Kopf(self._heard, settings)
        self._children = Children(kube, settings.namespaces, self._heard, self._resync.set)
        self._workers: list[asyncio.Task[None]] = []
        self.tasks: list[asyncio.Task[None]] = []
        """None of them may end by itself; the watches are the first."""

    async def start(self) -> None:
        """Begin; nothing here is awaited for long."""
        await self._pods.__aenter__()
        settings, queue = self._settings, self._queue
        watching = asyncio.create_task(self._watch(), name="watch")
        self._workers = [
            asyncio.create_task(work(queue, self._reconciler.look), name="worker") for _ in range(settings.workers)
        ]
        others = {
            "children": self._children.run(),
            "events": self._recorder.run(),
            "gpus": self._pods.gpus.run(),
            "resync": watch.resync_forever(
                lambda: watch.resync(self._kube, queue, settings.namespaces, self._reconciler.known),
                self._resync,
                settings.resync_seconds,
            ),
        }
        if settings.router_ops:
            others["demand"] = self._demands.run()
        made = [asyncio.create_task(part, name=name) for name, part in others.items()]
        self.tasks = [watching, *self._workers, *made]

    async def end(self, *, drain: bool) -> None:
        """No look after this one; with `drain` those under way may finish."""
        self._kopf.stop()
        self._queue.close()
        if drain and self._workers:
            await asyncio.wait(self._workers, timeout=DRAIN_SECONDS)
        others = self.tasks[1:]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._pods.__aexit__()

    async def ended(self, seconds: float) -> None:
        """kopf ends when told to; one that hangs so long is left to the process's end."""
        for watching in self.tasks[:1]:
            await asyncio.wait([watching], timeout=seconds)
            watching.cancel()

    def vitals(self, heart: ops.Heart) -> ops.Vitals:
        """What the probes judge."""
        return ops.Vitals(
            lag=heart.lag(),
            oldest_running=self._queue.oldest_running(),
            oldest_waiting=self._queue.oldest_waiting(),
            watching=not self.tasks[0].done(),
            workers=sum(not worker.done() for worker in self._workers),
            started=self._kopf.ready,
        )

    def _heard(self, plural: str, kind: str | None, body: dict[str, Any]) -> None:
        self._reconciler.heard(plural)
        self._events.event(plural, kind, body)

    def _profile_changed(self) -> None:
        self._reconciler.forget_profiles()
        self._resync.set()

    async def _watch(self) -> None:
        somewhere = self._settings.namespaces[0] if self._settings.namespaces else None
        await watch.await_kinds(lambda kind: self._kube.served(kind, somewhere))
        await self._children.begun.wait()  # what is looked at before that could change unheard
        try:
            await watch.called_first(self._kube, self._queue, self._settings.namespaces, time.time())
        except (Retry, Terminal) as error:
            log.warning("who is called already is not known, so all wait in one line: %s", error)
        await self._kopf.run()


def _reconciler(settings: Settings, parts: Parts, tracer: "Tracer | None") -> Reconciler:
    if tracer is None:
        return Reconciler(settings, parts)
    from dormouse_operator.tracing import SpannedReconciler

    return SpannedReconciler(tracer, settings, parts)
