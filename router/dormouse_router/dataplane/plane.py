"""`gateway.Gateway`: find the model, hold the call if it sleeps, send it to an engine, count it, keep the model awake.

Owns the order of these and what may be tried again: until an engine's first byte a call may move to another
engine, or back into the hold; after it, never.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from dormouse_router.catalog.catalog import Catalog, Endpoint, Entry
from dormouse_router.catalog.record import Key, Record
from dormouse_router.cluster import Cluster, ClusterError
from dormouse_router.dataplane.balance import pick
from dormouse_router.dataplane.hold import Hold, failed, gone
from dormouse_router.dataplane.lane import Lane
from dormouse_router.dataplane.lease import LeaseKeeper
from dormouse_router.dataplane.upstream import Answer, Connection, Pool, Unreachable
from dormouse_router.gateway import Call, Headers, Refusal
from dormouse_router.metrics import Metrics, Row
from dormouse_router.settings import Settings

AVOID_SECONDS = 1.0
"""How long an engine that could not be reached is passed over."""
REACH_SECONDS = 15.0
"""From the first engine that could not be reached to giving a call up: pods come and go within that."""
LOST_REQUESTS = 2
"""Engines that may take a request and die before their first byte: more, and it is the request that kills them."""


class DataPlane:
    """The gateway. One per process."""

    def __init__(self, catalog: Catalog, cluster: Cluster, settings: Settings) -> None:
        self.catalog, self.settings = catalog, settings
        self._cluster = cluster
        self.pool = Pool(settings.connect_timeout, settings.silence_timeout)
        self.clock = asyncio.get_running_loop().time
        self.hold = Hold(catalog, self.clock, self.wake, settings)
        self.lanes: dict[Key, Lane] = {}
        self._keepers: dict[Key, LeaseKeeper] = {}
        self._unloads: set[asyncio.Task[None]] = set()
        self._turn = 0
        self.metrics = Metrics(self._rows)
        catalog.listeners.append(self._changed)

    # ------------------------------------------------------------------ gateway.Gateway

    def find(self, name: str, *, exact: bool = True) -> Record:
        entry = self.catalog.find(name, exact=exact)
        if entry is None or entry.record.deleting:
            self.metrics.unknown_model += 1
            raise unknown(name)
        return entry.record

    def models(self) -> list[Record]:
        return [entry.record for entry in self.catalog.entries() if not entry.record.deleting]

    def awake(self, record: Record) -> bool:
        entry = self.catalog.get(record.key)
        return entry is not None and bool(entry.endpoints)

    def open(self, call: Call) -> "Opened":
        return Opened(self, call)

    async def load(self, record: Record, keep_alive: float | None = None) -> float:
        call = Call(record, "", b"", "", keep_alive=keep_alive)
        since = self.clock()
        lane = self.lane(record.key)
        if self.choose(lane, call) is None:
            await self.hold.wait(lane, call, since)
        self.finish(lane, call)
        return self.clock() - since

    async def unload(self, record: Record) -> None:
        lane = self.lane(record.key)
        lane.linger, lane.idle_since = 0.0, self.clock()
        try:
            await self._keepers[record.key].unload()
        except ClusterError as error:
            if error.status != 404:
                text = f"The model '{record.name}' could not be unloaded: {error} Try again."
                raise Refusal(503, text, retry_after=1.0) from error

    async def awake_until(self, record: Record) -> float | None:
        keeper = self._keepers.get(record.key)
        if keeper is not None and keeper.ends is not None:
            return keeper.ends
        self.lane(record.key)
        try:
            wish = await self._keepers[record.key].read()
        except ClusterError:
            return None
        return wish.ends if wish is not None else None

    def exposition(self) -> tuple[bytes, str]:
        return self.metrics.exposition()

    # ------------------------------------------------------------------ for Opened

    def lane(self, key: Key) -> Lane:
        lane = self.lanes.get(key)
        if lane is None:
            self.lanes[key] = lane = Lane(key)
            self._keepers[key] = LeaseKeeper(
                self._cluster,
                lane,
                self.settings.pod_name,
                lambda: self._idle_seconds(lane),
                time.time,
                self.clock,
                self._wrote,
            )
        return lane

    def choose(self, lane: Lane, call: Call) -> Endpoint | None:
        """An engine for `call`, or None: its model must wake first. Raises Refusal."""
        entry = self.catalog.get(call.record.key)
        if entry is None or entry.record.deleting:
            raise gone(call.record.name)
        self._turn += 1
        chosen = pick(entry.endpoints, self.clock(), self._turn)
        if chosen is not None:
            self._keepers[lane.key].start()
        elif entry.record.failed and not entry.endpoints:
            raise failed(entry.record)
        return chosen

    def finish(self, lane: Lane, call: Call) -> None:
        """A call of the lane ended; its keep_alive counts from now."""
        lane.idle_since = self.clock()
        lane.linger = call.keep_alive
        keeper = self._keepers.get(lane.key)
        if keeper is None or self.catalog.get(lane.key) is None:
            self.forget(lane)
        elif call.keep_alive != 0:
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
            self._keepers[lane.key].refresh()

    async def close(self) -> None:
        """Write the last leases and close every connection."""
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()))
        self.pool.close()

    # ------------------------------------------------------------------ inside

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

    def _wrote(self) -> None:
        self.metrics.lease_writes += 1

    def _rows(self) -> Iterator[Row]:
        for (namespace, name), lane in self.lanes.items():
            yield f"{namespace}/{name}", lane.stats, lane.in_flight, len(lane.held)


def unknown(name: str) -> Refusal:
    """The refusal of a call for a model that is not there. Nothing is ever downloaded by a chat."""
    shown = name if len(name) <= 200 else f"{name[:200]}..."
    text = (
        f"The model '{shown}' was not found. Pull it first: `ollama pull <org>/<name>`, POST /pull with "
        '{"model": "<org>/<name>"}, or `kubectl apply` an InferenceModel that names it.'
    )
    return Refusal(404, text, code="model_not_found", param="model")


class Opened:
    """One call, as an async context manager: inside it an engine's answer is at hand and counted in flight."""

    __slots__ = ("_answer", "_call", "_connection", "_endpoint", "_lane", "_plane", "_since", "hold_seconds", "record")

    def __init__(self, plane: DataPlane, call: Call) -> None:
        self._plane, self._call = plane, call
        self._lane = plane.lane(call.record.key)
        self._since = 0.0
        self._endpoint: Endpoint | None = None
        self._connection: Connection | None = None
        self._answer: Answer | None = None
        self.hold_seconds = 0.0
        self.record = call.record

    async def __aenter__(self) -> "Opened":
        self._since = self._plane.clock()
        try:
            await self._begin()
        except BaseException as error:
            self._ended(error)
            raise
        self._lane.stats.first_byte.observe(self._plane.clock() - self._since)
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended(error)

    # ------------------------------------------------------------------ gateway.Upstream

    @property
    def status(self) -> int:
        return self.chunks.status

    @property
    def headers(self) -> Headers:
        return self.chunks.headers

    @property
    def chunks(self) -> Answer:
        assert self._answer is not None  # noqa: S101 - only inside the context
        return self._answer

    async def body(self) -> bytes:
        return await self.chunks.body()

    def count(self, prompt_tokens: int, completion_tokens: int) -> None:
        tokens = self._lane.stats.tokens
        tokens[0] += prompt_tokens
        tokens[1] += completion_tokens

    # ------------------------------------------------------------------ inside

    async def _begin(self) -> None:
        plane, call = self._plane, self._call
        give_up, lost = 0.0, 0
        while True:
            endpoint = plane.choose(self._lane, call)
            if endpoint is None:
                endpoint = await self._hold()
            try:
                await self._try(endpoint)
            except Unreachable as error:
                kept = self._connection is not None and self._connection.reused
                lost += error.sent and not kept
                self._release()
                give_up = give_up or plane.clock() + REACH_SECONDS
                if lost >= LOST_REQUESTS or plane.clock() > give_up:
                    text = f"The engine of '{call.record.name}' could not be reached: {error}. Try again."
                    raise Refusal(502, text, code="engine_unreachable", retry_after=1.0) from error
            else:
                return

    async def _hold(self) -> Endpoint:
        plane = self._plane
        asked = plane.clock()
        endpoint = await plane.hold.wait(self._lane, self._call, self._since)
        self.hold_seconds += plane.clock() - asked
        entry = plane.catalog.get(self.record.key)
        if entry is not None:
            self.record = entry.record  # what was not known before the wake: the commit, the engine
        return endpoint

    async def _try(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        endpoint.in_flight += 1
        self._lane.in_flight += 1
        pool = self._plane.pool
        kept = pool.take(endpoint.host, endpoint.port)
        try:
            self._connection = connection = kept or await pool.connect(endpoint.host, endpoint.port)
            self._answer = answer = connection.send(self._head(endpoint), self._call.body)
            await answer.head()
        except Unreachable:
            if kept is None:  # a stale kept connection says nothing about the engine
                endpoint.avoid_until = self._plane.clock() + AVOID_SECONDS
            raise

    def _head(self, endpoint: Endpoint) -> bytes:
        call = self._call
        head = (
            f"POST {call.path} HTTP/1.1\r\nhost: {endpoint.host}:{endpoint.port}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(call.body)}\r\nx-request-id: {call.request_id}\r\n"
        ).encode()
        for header in call.headers:
            head += b"%b: %b\r\n" % header
        return head + b"\r\n"

    def _release(self) -> None:
        endpoint, connection = self._endpoint, self._connection
        if endpoint is not None:
            endpoint.in_flight -= 1
            self._lane.in_flight -= 1
            if connection is not None:
                self._plane.pool.give_back(endpoint.host, endpoint.port, connection)
        self._endpoint = self._connection = None

    def _ended(self, error: BaseException | None) -> None:
        reached = self._endpoint is not None
        status = self._answer.status if self._answer is not None and reached else 0
        self._release()
        stats, now = self._lane.stats, self._plane.clock()
        if isinstance(error, Refusal):
            status = error.status
            stats.refuse(error.code or str(status))
        elif error is not None:
            status = 499 if isinstance(error, asyncio.CancelledError) else 502
        stats.answered(self._call.dialect, status, now - self._since)
        if reached:
            self._plane.finish(self._lane, self._call)
        else:
            self._plane.forget(self._lane)
