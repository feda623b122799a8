"""The operator's process: probes first, then the election where there is one, then everything that acts.

A standby does not act at all: it answers probes and looks at one Lease. What a leader needs it reads when it leads, as
after any start, so nothing that a standby remembered can be out of date. Knows no environment and no signals.
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from dormouse_api import names
from dormouse_api.tracer import opened
from dormouse_operator import ops
from dormouse_operator.acting import Acting
from dormouse_operator.decide.election import Terms
from dormouse_operator.election import Election, Seat
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.events import event
from dormouse_operator.fence import Fence
from dormouse_operator.happenings import Happening
from dormouse_operator.kube import Kube
from dormouse_operator.metrics import Metrics
from dormouse_operator.queue import WorkQueue
from dormouse_operator.settings import Settings
from dormouse_operator.watch import SPACING
from dormouse_operator.wire import Wire

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

log = logging.getLogger(__name__)
SERVICE = "dormouse-operator"


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop`; raises when a part that must not end has ended, LostLeadershipError when another may lead."""
    instance = os.environ.get("HOSTNAME") or socket.gethostname()
    queue, heart = WorkQueue(workers=settings.workers, spacing=SPACING), ops.Heart()
    metrics = Metrics(queue)
    acting: Acting | None = None
    async with (
        opened(settings.tracing, SERVICE, log.warning) as tracer,
        _opened(settings, metrics, instance, tracer) as (kube, election),
    ):

        def vitals() -> ops.Vitals:
            return acting.vitals(heart) if acting is not None else _standing_by(heart, election)

        served = await ops.serve(ops.application(vitals, metrics.text), settings.ops_port)
        beating = asyncio.create_task(heart.run(), name="heart")
        try:
            if election is None or await _won(election, stop):
                metrics.leads()
                acting = Acting(settings, kube, metrics, queue, instance, tracer)
                await _act(acting, kube, election, stop, beating)
        finally:
            if election is not None:
                await election.release()  # first of all that may take its time
            if acting is not None:
                await acting.ended(5.0 if stop.is_set() else 0.5)
            beating.cancel()
            await served.cleanup()


@asynccontextmanager
async def _opened(
    settings: Settings, metrics: Metrics, instance: str, tracer: "Tracer | None"
) -> AsyncIterator[tuple[Kube, Election | None]]:
    """The client that acts; and the candidate, with a client of its own, where there is an election."""
    if settings.election is None:
        async with Kube(metrics.wrote, wire=_wire(tracer, None)) as kube:
            yield kube, None
        return
    fence, terms = Fence(), Terms(settings.election_seconds)
    seat = Seat(*settings.election, serves=",".join(sorted(settings.namespaces)))
    async with Kube(metrics.wrote, fence, _wire(tracer, fence)) as kube, Kube() as voter:
        yield kube, Election(voter, seat, terms, fence, instance)


def _wire(tracer: "Tracer | None", fence: Fence | None) -> Wire:
    if tracer is None:
        return Wire(fence)
    from dormouse_operator.tracing import SpannedWire

    return SpannedWire(tracer, fence)


async def _won(election: Election, stop: asyncio.Event) -> bool:
    """Stand by until this process leads, or (False) is to stop."""
    winning = asyncio.create_task(election.win(), name="election")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([winning, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not winning.done():
        winning.cancel()
        await asyncio.wait([winning])
        return False
    await winning
    return True


async def _act(
    acting: Acting, kube: Kube, election: Election | None, stop: asyncio.Event, beating: asyncio.Task[None]
) -> None:
    """Act until `stop`, or until a part ends, which none may."""
    holding, told = [], []
    if election is not None:
        holding.append(asyncio.create_task(election.hold(), name="election"))
        told.append(asyncio.create_task(_announce(kube, election), name="announcement"))
    await acting.start()
    try:
        await _until(stop, [beating, *holding, *acting.tasks])
    finally:
        # a leader goes on renewing while its last looks end; one that lost the Lease has nothing to finish
        await acting.end(drain=stop.is_set())
        for task in (*holding, *told):
            task.cancel()
        await asyncio.gather(*holding, *told, return_exceptions=True)


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


async def _announce(kube: Kube, election: Election) -> None:
    """An Event beside the Lease: who leads since when is asked first when something is wrong."""
    now, lease = time.time(), election.reference
    happening = Happening("LeaderElected", f"{election.me} leads from now on", "Elect")
    name = f"{lease['name']}.{names.digest(election.me, str(now), length=16)}"
    try:
        await kube.create_event(event(lease, happening, name, now, election.me))
    except (Retry, Terminal) as error:
        log.warning("event of the election: %s", error)


def _standing_by(heart: ops.Heart, election: Election | None) -> ops.Vitals:
    return ops.Vitals(
        lag=heart.lag(),
        oldest_running=0.0,
        oldest_waiting=0.0,
        watching=False,
        workers=0,
        started=election is not None and election.informed,
        standby=election.leader if election is not None else "",
    )
