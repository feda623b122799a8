"""A call that came by a route: which model it takes, what it carries along, and who steps in where that model fails.

Owns the routes' draws and numbers. The exchange below knows nothing of routes: each model that is tried gets a call of
its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol, TypeVar

from dormouse_router.catalog.catalog import Catalog, Entry
from dormouse_router.catalog.record import Key, Record, Taken
from dormouse_router.catalog.routes import Route
from dormouse_router.dataplane.connection import Answer
from dormouse_router.dataplane.defaults import merged
from dormouse_router.dataplane.exchange import Exchange
from dormouse_router.dataplane.hold import failed
from dormouse_router.dataplane.variants import choose_variant, label, next_draw, stand_ins, sticky_key
from dormouse_router.gateway import Call, Waiting
from dormouse_router.request import Headers, Refusal, Request

K = TypeVar("K")
MOST_MARKS = 1000


class Routing:
    """The routes' side of the data plane."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._draws: dict[Key, float] = {}
        self._answered: dict[tuple[Key, str, int], int] = {}
        self._stood_in: dict[tuple[Key, str], int] = {}
        self._marks: dict[tuple[Key, str, tuple[str, ...]], tuple[Record, Route, Record]] = {}

    def take(self, route: Route, request: Request | None, body: bytes) -> Record:
        """The model for a call, marked with the way it came by. Refusal 503 where none can serve."""
        key = sticky_key(route, request.header, body) if request is not None else b""
        draw = self._draws.get(route.key, 0.0)
        if not key:
            self._draws[route.key] = draw = next_draw(draw)
        chosen = choose_variant(route, key, draw).model
        record = self._first(route, (chosen, *stand_ins(route, chosen)))
        if record is None:
            raise self._nobody(route, chosen)
        if record.name != chosen:
            _count(self._stood_in, (route.key, label(route, chosen)))
        return record

    def instead(self, record: Record) -> Record | None:
        """Who answers where the model that was taken has failed meanwhile; None: it has not, or nobody is left."""
        taken = record.taken
        route = self._catalog.routes.get(taken.route) if taken is not None else None
        if taken is None or route is None or _can_serve(self._catalog.get(record.key)):
            return None
        other = self._first(route, taken.left)
        if other is not None:
            _count(self._stood_in, (route.key, taken.variant))
        return other

    def answered(self, taken: Taken, status: int) -> None:
        """A call by the route ended with this status."""
        _count(self._answered, (taken.route, taken.variant, status))

    def answers(self) -> Iterable[tuple[str, str, int, int]]:
        """(route, variant, status, how often), of the routes that are there."""
        self._forget_gone()
        for (route, variant, status), count in self._answered.items():
            yield "/".join(route), variant, status, count

    def fallbacks(self) -> Iterable[tuple[str, str, int]]:
        """(route, variant that could not serve, how often another did), of the routes that are there."""
        self._forget_gone()
        for (route, variant), count in self._stood_in.items():
            yield "/".join(route), variant, count

    def _forget_gone(self) -> None:
        """Drop the numbers of routes that were deleted: clients make and delete them all day (`ollama create`)."""
        there = self._catalog.routes.get
        self._draws = {key: draw for key, draw in self._draws.items() if there(key) is not None}
        self._answered = {key: count for key, count in self._answered.items() if there(key[0]) is not None}
        self._stood_in = {key: count for key, count in self._stood_in.items() if there(key[0]) is not None}

    def _first(self, route: Route, models: tuple[str, ...]) -> Record | None:
        """The first of `models` that can serve, asleep or awake."""
        for index, model in enumerate(models):
            entry = self._catalog.get((route.namespace, model))
            if entry is not None and _can_serve(entry):
                return self._marked(entry.record, route, models[index + 1 :])
        return None

    def _marked(self, record: Record, route: Route, left: tuple[str, ...]) -> Record:
        """`record` with the way it came by; made once, for making it costs four times the choice."""
        key = (route.key, record.name, left)
        known = self._marks.get(key)
        if known is not None and known[0] is record and known[1] is route:
            return known[2]
        if len(self._marks) >= MOST_MARKS:
            self._marks.clear()
        marked = replace(record, taken=Taken(route.key, label(route, record.name), route.defaults, left))
        self._marks[key] = (record, route, marked)
        return marked

    def _nobody(self, route: Route, model: str) -> Refusal:
        entry = self._catalog.get((route.namespace, model))
        if entry is not None and entry.record.failed:
            return failed(entry.record)
        text = (
            f"The route '{route.name}' sends this call to the model '{model}', which is not there: create the "
            f"InferenceModel {route.namespace}/{model}, or name another in spec.variants or spec.fallback."
        )
        return Refusal(503, text, code="model_not_found", should_retry=False)


def _can_serve(entry: Entry | None) -> bool:
    """A model that sleeps can: it is woken. One that has failed cannot, unless an engine of it is still up."""
    if entry is None or entry.record.deleting:
        return False
    return bool(entry.endpoints) or not entry.record.failed


def _count(counts: dict[K, int], key: K) -> None:
    counts[key] = counts.get(key, 0) + 1


class Plane(Protocol):
    """What a routed call needs of `plane.DataPlane`."""

    routing: Routing

    def exchange(self, call: Call) -> Exchange: ...


class Routed:
    """One call by a route: an exchange with the model that was taken, or with whoever steps in for it."""

    __slots__ = ("_call", "_exchange", "_plane", "record")

    def __init__(self, plane: Plane, call: Call) -> None:
        """`call.record` says by which route; `call.body` is what the client asked for, without the defaults."""
        self._plane, self._call = plane, call
        self._exchange: Exchange | None = None
        self.record = call.record

    # ------------------------------------------------------------------ gateway.Opening

    @property
    def upstream(self) -> "Routed":
        return self

    def at_once(self, changed: Callable[[], None]) -> bool:
        """Never: whoever steps in for a model that failed may have to wake."""
        return False

    def close(self, error: BaseException | None = None) -> None:
        """Nothing: no such call begins at once."""

    async def __aenter__(self) -> "Routed":
        while True:
            exchange = self._plane.exchange(self._with_defaults())
            try:
                await exchange.__aenter__()
            except BaseException as error:
                self._ended(_status(error))
                other = self._plane.routing.instead(self.record) if isinstance(error, Refusal) else None
                if other is None:
                    raise
                self.record = other
            else:
                self._exchange = exchange
                if exchange.record.taken is None:  # the catalogue's own, as it is after the wake
                    self.record = replace(exchange.record, taken=self.record.taken)
                return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended(self._engine.status if error is None else _status(error))
        await self._engine.__aexit__(kind, error, trace)

    # ------------------------------------------------------------------ gateway.Upstream

    @property
    def status(self) -> int:
        return self._engine.status

    @property
    def headers(self) -> Headers:
        return self._engine.headers

    @property
    def hold_seconds(self) -> float:
        return self._engine.hold_seconds

    @property
    def flow(self) -> Answer:
        return self._engine.chunks

    @property
    def pace(self) -> float | None:
        return self._engine.pace

    @property
    def chunks(self) -> Answer:
        return self._engine.chunks

    async def body(self) -> bytes:
        return await self._engine.body()

    # ------------------------------------------------------------------ inside

    @property
    def _engine(self) -> Exchange:
        assert self._exchange is not None  # noqa: S101 - only inside the context
        return self._exchange

    def _with_defaults(self) -> Call:
        """The call for the model that is tried now."""
        call, record = self._call, self.record
        assert record.taken is not None  # noqa: S101 - plane.open sees to it
        if call.renamed is not None:
            body = call.renamed(record.name)
        else:
            body = merged(call.body, call.path, record.name, record.taken.defaults)
        waiting = call.waiting
        if waiting is None:
            return replace(call, record=record, body=body)

        async def told(news: Waiting) -> None:
            await waiting(replace(news, record=replace(news.record, taken=record.taken)))

        return replace(call, record=record, body=body, waiting=told)

    def _ended(self, status: int) -> None:
        if self.record.taken is not None:
            self._plane.routing.answered(self.record.taken, status)


def _status(error: BaseException) -> int:
    """As the metrics of the model have it."""
    if isinstance(error, Refusal):
        return error.status
    return 499 if isinstance(error, asyncio.CancelledError) else 502
