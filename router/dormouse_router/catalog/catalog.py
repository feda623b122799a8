"""What exists and where it runs: every InferenceModel and the ready endpoints of each, in memory.

Owns the lookup by served name (of two models or routes that claim one, the oldest has it), the endpoints' identity over
time, and telling whoever waits that something changed. It only repeats what `watch.py` tells it, so it is always as new
as the last event; nobody else writes to it. Knows no HTTP and no Kubernetes client.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from dormouse_router.catalog.adapters import AdapterNames, adapters_of
from dormouse_router.catalog.claims import by_age, contested, first, fold, folded, without_latest
from dormouse_router.catalog.record import Key, Record
from dormouse_router.catalog.routes import Route, Routes

Address = tuple[str, int]
"""(IP address, port)"""


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
        self._adapters = AdapterNames()
        self.routes = Routes(self._routes_changed)
        self._routed: dict[str, Route] = {}
        self._routed_folded: dict[str, Route] = {}
        self._contested: dict[str, tuple[Entry | Route, ...]] = {}
        self._contested_folded: dict[str, tuple[Entry | Route, ...]] = {}
        self._closed: frozenset[Key] = frozenset()
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
            return self._exact.get(without_latest(name))
        return self._folded.get(fold(name))

    def find_adapter(self, name: str, *, exact: bool = True) -> Record | None:
        """The model of the adapter served as `name`, marked with it; `exact=False` also ignores case."""
        found = self._adapters.find(name, exact=exact)
        entry = self._entries.get(found[0]) if found is not None else None
        return self._adapters.marked(entry.record, found[1]) if entry is not None and found is not None else None

    def find_route(self, name: str, *, exact: bool = True) -> Route | None:
        """The route served as `name`, in the spellings of `find`. No name is both a model's and a route's."""
        if exact:
            return self._routed.get(name) or self._routed.get(without_latest(name))
        return self._routed.get(name) or self._routed_folded.get(fold(name))

    def closed(self, found: Entry | Route) -> bool:
        """Whether not everybody sees it; a route is as visible as the models behind it."""
        return found.record.closed if isinstance(found, Entry) else found.key in self._closed

    def claimants(self, name: str, *, exact: bool = True) -> tuple[Entry | Route, ...]:
        """All who claim a name in the spellings of `find`, the oldest first, where not everybody sees who has it."""
        if not exact:
            return self._contested_folded.get(fold(name), ())
        both = (name, without_latest(name))
        return tuple(found for spelling in both for found in self._contested.get(spelling) or self._only(spelling))

    def entries(self) -> list[Entry]:
        """Every model, newest first."""
        return sorted(self._entries.values(), key=lambda entry: by_age(entry.record), reverse=True)

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
        told = [(found.uid, found.served, found.closed) for found in (before, record)]
        return told[0] != told[1] or _renamed(before, record)

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
        served: list[tuple[Record | Route, Entry | Route]] = [(e.record, e) for e in self._entries.values()]
        served += [(route, route) for route in self.routes.every()]
        claims = sorted(served, key=lambda pair: by_age(pair[0]))
        self._closed = frozenset(route.key for route in self.routes.every() if self._over_closed(route))
        exact = first(claims)
        loosely = folded(exact)
        self._contested = contested(claims, exact, self.closed)
        self._contested_folded = contested(claims, loosely, self.closed, fold)
        # apart, so that a call that names a model asks one dictionary and no more
        self._exact, self._routed = _models_of(exact), _routes_of(exact)
        self._folded, self._routed_folded = _models_of(loosely), _routes_of(loosely)
        records = sorted((entry.record for entry in self._entries.values()), key=by_age)
        self._adapters.index(records, lambda name: name in exact or fold(name) in loosely)

    def _only(self, name: str) -> tuple[Entry | Route, ...]:
        found = self._exact.get(name) or self._routed.get(name)
        return () if found is None else (found,)

    def _over_closed(self, route: Route) -> bool:
        entries = (self._entries.get((route.namespace, model)) for model in route.models)
        return any(entry is not None and entry.record.closed for entry in entries)

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


def _renamed(before: Record, now: Record) -> bool:
    """Whether adapters came or went."""
    return before.spec.adapters is not now.spec.adapters and adapters_of(before) != adapters_of(now)
