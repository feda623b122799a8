"""What exists and where it runs: every InferenceModel and the ready endpoints of each, in memory.

Owns the lookup by served name (of two models or routes that claim one, the oldest has it), the endpoints' identity over
time, and telling whoever waits that something changed. It only repeats what `watch.py` tells it, so it is always as new
as the last event; nobody else writes to it. Knows no HTTP and no Kubernetes client.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dormouse_router.catalog.record import Key, Record
from dormouse_router.catalog.routes import Route, Routes

Address = tuple[str, int]
"""(IP address, port)"""
LATEST = ":latest"


@dataclass(eq=False, slots=True)
class Endpoint:
    """A ready engine. The same object for as long as the address stays ready, so the data plane may count on it."""

    host: str
    port: int
    in_flight: int = 0
    """Calls of this router on it; written by the data plane."""
    failures: int = 0
    """Times in a row it could not be reached. This and the next three are `dataplane/health.py`'s."""
    avoid_until: float = 0.0
    """Monotonic time before which it is passed over while another will do."""
    closed_until: float = 0.0
    """Monotonic time before which it is not called at all; never after `avoid_until`."""
    probing: bool = False
    """One call is out to see whether it is back, and both times above are that call's."""
    gone: bool = False
    """Not ready any more: calls that are on it may finish, no new one is sent, and no connection is kept."""

    @property
    def address(self) -> Address:
        return (self.host, self.port)


@dataclass(eq=False, slots=True)
class Entry:
    """A model and its ready endpoints. `endpoints` is replaced, never changed in place, and in order of address."""

    record: Record
    endpoints: tuple[Endpoint, ...] = ()
    leaving: tuple[Endpoint, ...] = ()
    """Those that were ready until calls were still on them; one that comes back in time keeps its identity."""


class Catalog:
    """The catalogue. Single-threaded: every method but `changed`'s future is synchronous."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry] = {}
        self._slices: dict[Key, dict[str, tuple[Address, ...]]] = {}
        self._exact: dict[str, Entry] = {}
        self._folded: dict[str, Entry] = {}
        self.routes = Routes(self._routes_changed)
        self._routed: dict[str, Route] = {}
        self._routed_folded: dict[str, Route] = {}
        self._waiters: dict[Key, set[asyncio.Future[None]]] = {}
        self.listeners: list[Callable[[Key], None]] = []
        """Called with the key of every model that changed, before the waiters run."""
        self.departed: list[Callable[[Endpoint], None]] = []
        """Called with every endpoint that is not ready any more."""

    # ------------------------------------------------------------------ reading

    def get(self, key: Key) -> Entry | None:
        return self._entries.get(key)

    def find(self, name: str, *, exact: bool = True) -> Entry | None:
        """The model served as `name`; `:latest` may be left out or added; `exact=False` also ignores case."""
        entry = self._exact.get(name)
        if entry is not None:
            return entry
        if exact:
            return self._exact.get(_without_latest(name))
        return self._folded.get(_fold(name))

    def find_route(self, name: str, *, exact: bool = True) -> Route | None:
        """The route served as `name`, in the spellings of `find`. No name is both a model's and a route's."""
        if exact:
            return self._routed.get(name) or self._routed.get(_without_latest(name))
        return self._routed.get(name) or self._routed_folded.get(_fold(name))

    def entries(self) -> list[Entry]:
        """Every model, newest first."""
        return sorted(self._entries.values(), key=lambda entry: _age(entry.record), reverse=True)

    def changed(self, key: Key) -> asyncio.Future[None]:
        """A future that is done at the next change of the model, its endpoints, or its being there at all."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(key, set())
        waiters.add(future)
        future.add_done_callback(lambda done: self._forget(key, done))
        return future

    def stir(self, key: Key) -> None:
        """Let whoever waits for the model look again: an endpoint that could not be reached is back."""
        for waiter in list(self._waiters.get(key, ())):
            if not waiter.done():
                waiter.set_result(None)

    # ------------------------------------------------------------------ what watch.py tells

    def put(self, record: Record) -> None:
        """A model was added or changed."""
        if self._set(record):
            self._index()
        self._tell(record.key)

    def drop(self, key: Key) -> None:
        """A model was deleted."""
        if self._remove(key):
            self._index()
            self._tell(key)

    def replace(self, records: Iterable[Record], namespace: str | None = None) -> None:
        """A fresh list of the models of `namespace` (None: all): what is not in it is gone."""
        found = {record.key: record for record in records}
        gone = [key for key in self._entries if key not in found and namespace in (None, key[0])]
        renamed = [self._remove(key) for key in gone] + [self._set(record) for record in found.values()]
        if any(renamed):  # once for the whole list
            self._index()
        for key in [*gone, *found]:
            self._tell(key)

    def put_slice(self, key: Key, slice_name: str, ready: tuple[Address, ...]) -> None:
        """An EndpointSlice of the model has these ready addresses."""
        self._slices.setdefault(key, {})[slice_name] = ready
        self._endpoints_changed(key)

    def drop_slice(self, key: Key, slice_name: str) -> None:
        slices = self._slices.get(key, {})
        if slices.pop(slice_name, None) is not None:
            if not slices:
                del self._slices[key]
            self._endpoints_changed(key)

    def replace_slices(self, found: Mapping[Key, dict[str, tuple[Address, ...]]], namespace: str | None = None) -> None:
        """A fresh list of the EndpointSlices of `namespace` (None: all): what is not in it is gone."""
        gone = [key for key in self._slices if key not in found and namespace in (None, key[0])]
        for key in gone:
            del self._slices[key]
        self._slices.update({key: dict(slices) for key, slices in found.items()})
        for key in [*gone, *found]:
            self._endpoints_changed(key)

    # ------------------------------------------------------------------ inside

    def _set(self, record: Record) -> bool:
        """Have the model as it is now; whether names must be looked at again."""
        entry = self._entries.get(record.key)
        if entry is None:
            self._entries[record.key] = Entry(record)
            self._set_endpoints(record.key)
            return True
        before, entry.record = entry.record, record
        return before.uid != record.uid or before.served != record.served

    def _remove(self, key: Key) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._depart(entry.endpoints)
        return True

    def _endpoints_changed(self, key: Key) -> None:
        if key in self._entries and self._set_endpoints(key):
            self._tell(key)

    def _set_endpoints(self, key: Key) -> bool:
        """Bring the entry's endpoints up to date; whether they changed. Those that stay keep their identity."""
        entry = self._entries[key]
        wanted = sorted({address for ready in self._slices.get(key, {}).values() for address in ready})
        if wanted == [endpoint.address for endpoint in entry.endpoints]:
            return False
        known = {endpoint.address: endpoint for endpoint in (*entry.leaving, *entry.endpoints)}
        endpoints = tuple(known.pop(address) if address in known else Endpoint(*address) for address in wanted)
        for endpoint in endpoints:
            endpoint.gone = False
        entry.endpoints = endpoints
        entry.leaving = tuple(endpoint for endpoint in known.values() if endpoint.in_flight)
        self._depart(endpoint for endpoint in known.values() if not endpoint.gone)
        return True

    def _depart(self, endpoints: Iterable[Endpoint]) -> None:
        for endpoint in endpoints:
            endpoint.gone = True
            for listener in self.departed:
                listener(endpoint)

    def _index(self) -> None:
        claims: list[tuple[Record | Route, Entry | Route]] = [(entry.record, entry) for entry in self._entries.values()]
        claims += [(route, route) for route in self.routes.every()]
        exact: dict[str, Entry | Route] = {}
        for claim, claimant in sorted(claims, key=lambda pair: _age(pair[0])):
            for name in claim.served:
                exact.setdefault(name, claimant)
        folded: dict[str, Entry | Route] = {}
        for name, claimant in exact.items():
            folded.setdefault(_fold(name), claimant)
        # apart, so that a call that names a model asks one dictionary and no more
        self._exact, self._routed = _models_of(exact), _routes_of(exact)
        self._folded, self._routed_folded = _models_of(folded), _routes_of(folded)

    def _routes_changed(self, keys: Iterable[Key]) -> None:
        self._index()
        for key in keys:
            self.stir(key)

    def _tell(self, key: Key) -> None:
        for listener in self.listeners:
            listener(key)
        self.stir(key)

    def _forget(self, key: Key, done: asyncio.Future[None]) -> None:
        waiters = self._waiters.get(key)
        if waiters is not None:
            waiters.discard(done)
            if not waiters:
                del self._waiters[key]


def _models_of(claimed: Mapping[str, Entry | Route]) -> dict[str, Entry]:
    return {name: claimant for name, claimant in claimed.items() if isinstance(claimant, Entry)}


def _routes_of(claimed: Mapping[str, Entry | Route]) -> dict[str, Route]:
    return {name: claimant for name, claimant in claimed.items() if isinstance(claimant, Route)}


def _age(record: Record | Route) -> tuple[float, str, str]:
    return (record.created, record.namespace, record.name)


def _without_latest(name: str) -> str:
    return name.removesuffix(LATEST) if name.endswith(LATEST) else name + LATEST


def _fold(name: str) -> str:
    return name.casefold().removesuffix(LATEST)
