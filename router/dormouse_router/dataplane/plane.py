"""`gateway.Gateway`: finds the model, opens exchanges with its engines, and keeps it awake while they last.

Owns the lanes and the lease keepers, one of each per model in use here, and what starts and ends them.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from dormouse_router.access.rules import ANYBODY
from dormouse_router.accounting.entries import Ended
from dormouse_router.caller import Caller, Gate, Role, current
from dormouse_router.catalog.catalog import Catalog, Endpoint, Entry
from dormouse_router.catalog.record import Key, Record
from dormouse_router.catalog.routes import Route
from dormouse_router.cluster import Cluster, ClusterError
from dormouse_router.dataplane import low
from dormouse_router.dataplane.adapting import waits
from dormouse_router.dataplane.exchange import Exchange
from dormouse_router.dataplane.hold import Hold, failed, gone
from dormouse_router.dataplane.lane import Lane
from dormouse_router.dataplane.lease import Around, LeaseKeeper
from dormouse_router.dataplane.routed import Routed, Routing
from dormouse_router.dataplane.sight import Sight
from dormouse_router.dataplane.upstream import Pool
from dormouse_router.gateway import Call, Opening, unknown
from dormouse_router.keeping import request_owner
from dormouse_router.metrics import Metrics, Row
from dormouse_router.request import Refusal, Request
from dormouse_router.settings import Settings


class DataPlane:
    """The gateway. One per process."""

    def __init__(self, catalog: Catalog, cluster: Cluster, settings: Settings) -> None:
        self.catalog, self.settings = catalog, settings
        self.pool = Pool(settings.connect_timeout, settings.silence_timeout)
        self.clock = asyncio.get_running_loop().time
        self.hold = Hold(catalog, self.clock, time.time, self.wake, settings)
        self.lanes: dict[Key, Lane] = {}
        self._keepers: dict[Key, LeaseKeeper] = {}
        self._unloads: set[asyncio.Task[None]] = set()
        self.routing = Routing(catalog)
        self.sight = Sight(catalog)
        self.gate: Gate | None = None
        """Counts what calls take of their callers' limits, where it is asked who calls."""
        self.exchanging: Callable[[DataPlane, Lane, Call], Exchange] = Exchange
        """What makes them: tracing puts its own here."""
        self.book: Callable[[Ended], None] = _nowhere
        """Is told of every call that ended."""
        self.metrics = Metrics(self._rows, self.routing)
        self._around = Around(cluster, settings.pod_name, time.time, self.clock, self._wrote)
        catalog.listeners.append(self._changed)
        catalog.departed.append(self._departed)

    # ------------------------------------------------------------------ gateway.Gateway

    def find(self, name: str, *, exact: bool = True, request: Request | None = None, body: bytes = b"") -> Record:
        found = self._found(name, exact, request)
        asking = current()
        if asking is not None and asking.models:
            self._permit(asking, found)
        return found if isinstance(found, Record) else self.routing.take(found, request, body)

    def _found(self, name: str, exact: bool, request: Request | None) -> Record | Route:
        entry = self.catalog.find(name, exact=exact)
        if entry is not None:
            record = entry.record
            if not (record.closed or record.deleting):
                return record
        found = self.sight.plain(name, exact=exact)
        if found is None:  # only now is it worth knowing who asks
            caller = self.caller(request_owner(request)) if request is not None else ANYBODY
            found = self.sight.find(name, caller, exact=exact)
        if found is None:
            self.metrics.unknown_model += 1
            raise unknown(name)
        return found

    def caller(self, owner: str) -> Caller:
        caller = current() or Caller("anonymous", owner, Role.USER)
        return replace(caller, role=Role.ADMIN) if caller.owner in self.settings.admins else caller

    def sees(self, caller: Caller, found: Record | Route) -> bool:
        return self.sight.sees(caller, found)

    def look_up(self, name: str, caller: Caller, *, exact: bool = True) -> Record | Route | None:
        return self.sight.find(name, caller, exact=exact)

    def models(self, caller: Caller) -> list[Record]:
        records = (entry.record for entry in self.catalog.entries() if not entry.record.deleting)
        return [record for record in records if self.sight.sees(caller, record)]

    def routes(self, caller: Caller) -> list[Route]:
        return [route for route in self.catalog.routes.every() if self.sight.sees(caller, route)]

    def behind(self, route: Route) -> list[Record]:
        entries = (self.catalog.get((route.namespace, model)) for model in route.models)
        return [entry.record for entry in entries if entry is not None and not entry.record.deleting]

    def awake(self, record: Record) -> bool:
        entry = self.catalog.get(record.key)
        return entry is not None and bool(entry.endpoints)

    def open(self, call: Call) -> Opening:
        return self.exchange(call) if call.record.taken is None else Routed(self, call)

    def exchange(self, call: Call) -> Exchange:
        """With the model of `call.record`, and no other."""
        if call.low:
            call.body = low.lowered(call.body)
        if self.gate is not None:
            call.spend = self.gate.charge(call.record.name, call.record.full_name)
        return self.exchanging(self, self.lane(call.record.key), call)

    async def load(self, record: Record, keep_alive: float | None = None, hold: float | None = None) -> float:
        call = Call(record, "", b"", "", keep_alive=keep_alive, hold=hold)
        since = self.clock()
        lane = self.lane(record.key)
        if self.choose(lane, call, since) is None:
            await self.hold.wait(lane, call, since)
        now = self.clock()
        self.finish(lane, call, now)
        return now - since

    async def unload(self, record: Record) -> None:
        route = self.catalog.routes.get(record.taken.route) if record.taken is not None else None
        for each in self.behind(route) if route is not None else [record]:
            await self._unload(each)

    async def _unload(self, record: Record) -> None:
        lane = self.lane(record.key)
        lane.linger, lane.idle_since = 0.0, self.clock()
        try:
            await self._keeper(lane).unload()
        except ClusterError as error:
            if error.status != 404:
                text = f"The model '{record.name}' could not be unloaded: {error} Try again."
                raise Refusal(503, text, retry_after=1.0) from error

    async def awake_until(self, record: Record) -> float | None:
        keeper = self._keeper(self.lane(record.key))
        if keeper.ends is not None:
            return keeper.ends
        try:
            wish = await keeper.read()
        except ClusterError:
            return None
        return wish.ends if wish is not None else None

    def exposition(self) -> tuple[bytes, str]:
        return self.metrics.exposition()

    # ------------------------------------------------------------------ for Exchange

    def lane(self, key: Key) -> Lane:
        lane = self.lanes.get(key)
        if lane is None:
            self._enter(lane := Lane(key))
        return lane

    def _enter(self, lane: Lane) -> LeaseKeeper:
        self.lanes[lane.key] = lane
        self._keepers[lane.key] = keeper = LeaseKeeper(self._around, lane, lambda: self._idle_seconds(lane))
        return keeper

    def _keeper(self, lane: Lane) -> LeaseKeeper:
        """The lane's keeper; a model that was deleted and made anew meanwhile gets another."""
        return self._keepers.get(lane.key) or self._enter(lane)

    def choose(self, lane: Lane, call: Call, now: float) -> Endpoint | None:
        """An engine for `call`, or None: its model must wake first. Raises Refusal."""
        entry = self.catalog.get(lane.key)
        if entry is None or entry.record.deleting:
            raise gone(call.record.name)
        if call.record.adapter is not None and waits(entry.record, call.record):
            if entry.record.failed and not entry.endpoints:
                raise failed(entry.record)
            return None
        chosen = lane.balancer.choose(entry.endpoints, call, now)
        if chosen is not None:
            keeper = self._keepers.get(lane.key) or self._enter(lane)
            if not keeper.running:
                keeper.start()
        elif entry.record.failed and not entry.endpoints:
            raise failed(entry.record)
        return chosen

    def finish(self, lane: Lane, call: Call, now: float) -> None:
        """A call of the lane ended; its keep_alive counts from now."""
        lane.idle_since = now
        lane.linger = call.keep_alive
        keeper = self._keepers.get(lane.key)
        if keeper is None or self.catalog.get(lane.key) is None:
            self.forget(lane)
        elif call.keep_alive != 0:
            if not keeper.running:
                keeper.start()
        elif not lane.busy:
            task = asyncio.get_running_loop().create_task(self._unload_quietly(keeper))
            self._unloads.add(task)
            task.add_done_callback(self._unloads.discard)

    def forget(self, lane: Lane) -> None:
        """Drop the numbers of a model that is gone, once nothing of it runs here."""
        if self.catalog.get(lane.key) is None and not lane.busy and self.lanes.get(lane.key) is lane:
            del self.lanes[lane.key]
            self._keepers.pop(lane.key)

    def wake(self, lane: Lane, entry: Entry) -> None:
        """Begin the one wake of a model that sleeps, unless it is under way."""
        if lane.wake(self.clock(), entry.record.spec.scaling.hold_seconds):
            self._keeper(lane).refresh()

    async def close(self) -> None:
        """Write the last leases and close every connection."""
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()))
        self.pool.close()

    # ------------------------------------------------------------------ inside

    def _permit(self, caller: Caller, found: Record | Route) -> None:
        if not self.sight.permits(caller, found):
            text = f"This key is for {', '.join(caller.models)[:500]} and not for '{found.name}': use another key."
            raise Refusal(403, text, code="model_not_allowed", param="model")

    async def _unload_quietly(self, keeper: LeaseKeeper) -> None:
        with contextlib.suppress(ClusterError):  # it falls asleep a little later then
            await keeper.unload()

    def _idle_seconds(self, lane: Lane) -> float | None:
        entry = self.catalog.get(lane.key)
        lane.settle(entry, self.clock())
        return float(entry.record.spec.scaling.idle_seconds) if entry is not None else None

    def _changed(self, key: Key) -> None:
        lane = self.lanes.get(key)
        if lane is None:
            return
        entry: Entry | None = self.catalog.get(key)
        lane.settle(entry, self.clock())
        self._keepers[key].poke()
        if entry is None:
            self.forget(lane)

    def _departed(self, endpoint: Endpoint) -> None:
        self.pool.forget(*endpoint.address)

    def _wrote(self) -> None:
        self.metrics.lease_writes += 1

    def _rows(self) -> Iterator[Row]:
        for (namespace, name), lane in self.lanes.items():
            entry = self.catalog.get(lane.key)
            limit = entry.record.spec.scaling.max_held if entry is not None else None
            yield Row(f"{namespace}/{name}", lane.stats, lane.in_flight, len(lane.held), limit)


def _nowhere(ended: Ended) -> None:
    """Where nobody keeps books."""
