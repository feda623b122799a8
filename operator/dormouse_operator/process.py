"""The running operator: every part put together, and every task watched. Knows no environment and no signals."""

import asyncio
import logging
import os
import socket

from dormouse_api.conditions import ConditionType
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import ops, watch
from dormouse_operator.demand import Demands
from dormouse_operator.events import Recorder
from dormouse_operator.happenings import happenings
from dormouse_operator.kube import Kube
from dormouse_operator.metrics import Metrics
from dormouse_operator.observed import Model
from dormouse_operator.pods import Pods
from dormouse_operator.queue import Key, WorkQueue, work
from dormouse_operator.reconcile import Parts, Reconciler
from dormouse_operator.settings import Settings

log = logging.getLogger(__name__)


class Ears:
    """Hears of looks and written statuses, and hands them to metrics and events."""

    def __init__(self, metrics: Metrics, recorder: Recorder) -> None:
        self._metrics = metrics
        self._recorder = recorder

    def told(self, model: Model, new: InferenceModelStatus) -> None:
        """A status was written."""
        for happening in happenings(model.name, model.status, new):
            self._recorder.record(model, happening)

    def seen(self, key: Key, status: InferenceModelStatus) -> None:
        """A model was looked at."""
        ready = next((c for c in status.conditions or () if c.type == ConditionType.READY.value), None)
        self._metrics.model(key, ready.reason if ready else None)

    def gone(self, key: Key) -> None:
        """A model is no more."""
        self._metrics.model(key, None)

    def looked(self, result: str, seconds: float) -> None:
        """A look ended."""
        self._metrics.looked(result, seconds)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop`; raises when a part that must not end has ended."""
    queue = WorkQueue()
    metrics = Metrics(queue)
    async with Kube(metrics.wrote) as kube, Pods(queue.add, settings.poll_seconds) as pods:
        recorder = Recorder(kube, os.environ.get("HOSTNAME") or socket.gethostname())
        demands = Demands(settings.router_ops, queue.add, settings.demand_seconds)
        reconciler = Reconciler(settings, Parts(kube, queue, pods, demands, Ears(metrics, recorder)))
        resync, heart = asyncio.Event(), ops.Heart()

        def profile_changed() -> None:
            reconciler.forget_profiles()
            resync.set()

        kopf = watch.Kopf(watch.Watch(queue, profile_changed).event, settings)
        somewhere = settings.namespaces[0] if settings.namespaces else None
        watching = asyncio.create_task(_watch(kube, somewhere, kopf), name="watch")
        workers = [asyncio.create_task(work(queue, reconciler.look), name="worker") for _ in range(settings.workers)]
        others = {
            "events": recorder.run(),
            "heart": heart.run(),
            "resync": watch.resync_forever(
                lambda: watch.resync(kube, queue, settings.namespaces, reconciler.known),
                resync,
                settings.resync_seconds,
            ),
        }
        if settings.router_ops:
            others["demand"] = demands.run()
        tasks = [*workers, *(asyncio.create_task(part, name=name) for name, part in others.items())]

        def vitals() -> ops.Vitals:
            return ops.Vitals(
                lag=heart.lag(),
                oldest_running=queue.oldest_running(),
                oldest_waiting=queue.oldest_waiting(),
                watching=not watching.done(),
                workers=sum(not worker.done() for worker in workers),
                started=kopf.ready,
            )

        served = await ops.serve(ops.application(vitals, metrics.text), settings.ops_port)
        try:
            await _until(stop, [watching, *tasks])
        finally:
            kopf.stop()
            await _end(tasks, watching)
            await served.cleanup()


async def _watch(kube: Kube, namespace: str | None, kopf: watch.Kopf) -> None:
    await watch.await_kinds(lambda kind: kube.served(kind, namespace))
    await kopf.run()


async def _until(stop: asyncio.Event, parts: list[asyncio.Task[None]]) -> None:
    """Wait for `stop`; raise when a part ends before that, for none may."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([stopping, *parts], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if stop.is_set():
        return
    for part in parts:
        if part.done():
            await part
            raise RuntimeError(f"the operator's {part.get_name()} has ended by itself")


async def _end(tasks: list[asyncio.Task[None]], watching: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # kopf ends when told to; one that hangs is left to the process's end
    await asyncio.wait([watching], timeout=5)
    watching.cancel()
