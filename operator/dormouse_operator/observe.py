"""Reads one model's surroundings from the API server and the pollers into one frozen `Observed`.

Existence is read each time, never remembered: a relist after an outage tells nothing of what was deleted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.gpu import GpuReport
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_operator import reading
from dormouse_operator.bulk import Bulk, Shelf, Source
from dormouse_operator.decide import adapters, preload
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.notices import Notices
from dormouse_operator.observed import Demand, Model, Observed, Pod, Profile, Tally
from dormouse_operator.plan import pipeline
from dormouse_operator.plan.sources import source_claim
from dormouse_operator.plan.storage import claim_name
from dormouse_operator.queue import Key
from dormouse_operator.settings import Settings
from dormouse_operator.volumes import Volumes

Object = dict[str, Any]

PROFILE_SECONDS = 2.0
"""How long a profile that was read is taken for present; its events end that at once."""
CLAIM = "PersistentVolumeClaim"
BY_NAME = ("Deployment", "Lease", "Service")
"""Children of which there is one, all of the same name."""


class Reader(Source, Protocol):
    """The reading part of `kube.Kube`."""

    async def notices(self, namespace: str, uid: str) -> list[Object]: ...


class Watcher(Protocol):
    """What asks pull and runtime pods themselves (`pods.Pods`)."""

    def follow(self, key: Key, pod: Pod | None) -> None: ...
    def progress(self, key: Key) -> Progress | None: ...
    def state(self, key: Key) -> RuntimeState | None: ...
    def watch(self, key: Key, hosts: Mapping[str, str]) -> None: ...
    def warned(self, key: Key) -> Mapping[str, GpuReport] | None: ...


class Demands(Protocol):
    """What asks the routers (`demand.Demands`)."""

    def of(self, key: Key) -> Demand | None: ...
    def traffic(self, key: Key, now: float) -> Traffic | None: ...
    def size(self, key: Key, wanted: bool, engines: tuple[str, ...] = ()) -> None: ...
    def tally(self, key: Key) -> Tally: ...
    def first_token(self, key: Key) -> float | None: ...
    def settled(self, key: Key, written: Tally | None) -> None: ...


class Ahead:
    """A model's children by the names they mostly have, read while the model itself is. Each is given out once: who
    reads it again wants it as it is by then. Only for a wake: after a change of the spec all is read again, alone, and
    what is given up half-way costs its connection as well.
    """

    def __init__(self, api: Source, key: Key, *, wake: bool) -> None:
        self._api = api
        self._gets: dict[tuple[str, str], asyncio.Future[Object | None]] = {}
        self._pods: list[asyncio.Future[list[Object]]] = []
        if wake:
            self._begin(api, key)

    def _begin(self, api: Source, key: Key) -> None:
        child, space = names.runtime_name(key.name), key.namespace
        wanted = {(kind, child): api.get(kind, space, child) for kind in BY_NAME}
        wanted[CLAIM, names.weights_name(key.name)] = api.get(CLAIM, space, names.weights_name(key.name))
        self._gets = {what: asyncio.ensure_future(asked) for what, asked in wanted.items()}
        self._pods = [asyncio.ensure_future(api.list("Pod", space, _selector(key)))]

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """As the API server's."""
        asked = self._gets.pop((kind, name), None)
        return await (self._api.get(kind, namespace, name) if asked is None else asked)

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """As the API server's; the selector can ask for nothing else than the model's pods here."""
        return await (self._pods.pop() if self._pods else self._api.list(kind, namespace, selector))

    def drop(self) -> None:
        """Nobody wants the rest."""
        rest: list[asyncio.Future[Any]] = [*self._gets.values(), *self._pods]
        for asked in rest:
            if not asked.cancel() and not asked.cancelled():
                asked.exception()  # taken, or it would be told of as forgotten


class Eyes:
    """One per process."""

    def __init__(
        self, settings: Settings, api: Reader, bulk: Bulk, pollers: tuple[Watcher, Demands], now: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._api = api
        self._bulk = bulk
        self._watcher, self._demands = pollers
        self._now = now
        self._notices = Notices(api, now)
        self._volumes = Volumes(api)
        self._profiles: dict[str, tuple[float, Profile | None]] = {}

    def alone(self, model: Model) -> AbstractAsyncContextManager[None]:
        """Nobody else looks meanwhile at a model that may write to the same volume."""
        return self._volumes.alone(model)

    def forget_profiles(self) -> None:
        """A profile changed: read it anew. What a look that is reading now finds may be older: it is kept for none."""
        self._profiles = {}

    async def ahead(self, key: Key) -> Ahead | Shelf:
        """What the children can be read from: a reading for many where many wait, else one of its own, which begins
        now for a wake, while the model itself is still read.
        """
        shelf = await self._bulk.of(key)
        return Ahead(self._api, key, wake=self._bulk.hurries(key)) if shelf is None else shelf

    async def observe(self, key: Key, model: Model, ahead: Ahead | Shelf | None) -> Observed:
        """By name where there is one child, by label where there may be more; Jobs only while a stage needs them.

        Of what was read `ahead`, or anew. pydantic's ValidationError when the profile is of a version that nobody here
        understands.
        """
        child, claim, selector = names.runtime_name(key.name), claim_name(model), _selector(key)
        reader: Source = self._api if ahead is None else ahead
        profile, pods, claim_raw, children = await asyncio.gather(
            self._profile(model),
            reader.list("Pod", key.namespace, selector),
            reader.get(CLAIM, key.namespace, claim),
            asyncio.gather(*(reader.get(kind, key.namespace, child) for kind in BY_NAME)),
        )
        by_kind = dict(zip(BY_NAME, children, strict=True))
        raw = {(kind, child): found for kind, found in by_kind.items() if found is not None}
        if claim_raw is not None:
            raw[CLAIM, claim] = claim_raw
        seen = Observed(
            model=model,
            profile=profile,
            claim=reading.read_claim(claim_raw),
            pods=reading.read_pods(pods),
            runtime=reading.read_runtime(by_kind["Deployment"]),
            wish=preload.wish(model, reading.read_lease(by_kind["Lease"])),
            restarted=reading.read_restart(by_kind["Lease"], by_kind["Deployment"]),
            progress=self._watcher.progress(key),
            state=self._watcher.state(key),
            gpus=self._watcher.warned(key),
            demand=self._demands.of(key),
            tally=self._demands.tally(key),
            first_token=self._demands.first_token(key),
            raw=raw,
            shared=isinstance(ahead, Shelf),
        )
        seen = await self._volumes.find(seen)
        if not pipeline.needs_jobs(seen, self._settings) and not adapters.asks(seen):
            return await self._notices.add(replace(seen, jobs=()), self._now())
        if seen.shared:
            return await self.observe(key, model, None)
        jobs, source = await asyncio.gather(self._api.list("Job", key.namespace, selector), self._source(model))
        seen = replace(seen, jobs=tuple(reading.read_job(job) for job in jobs), source=reading.read_claim(source))
        seen = await self._volumes.at_work(await self._volumes.needs(seen))
        p = pipeline.run(seen, self._settings, self._now())
        failure = p.copy_failure or (p.step.failure if p.step is not None else None)
        return await self._notices.add(await self._volumes.room(seen, p.needed_bytes, failure), self._now())

    async def _source(self, model: Model) -> Object | None:
        """The claim that the weights are copied from, where they come from one."""
        claim = source_claim(model.spec.source)
        return await self._api.get(CLAIM, model.namespace, claim) if claim else None

    async def _profile(self, model: Model) -> Profile | None:
        name = model.spec.profile or self._settings.default_profile
        profiles = self._profiles
        at, known = profiles.get(name, (float("-inf"), None))
        if time.monotonic() - at < PROFILE_SECONDS:
            return known
        raw = await self._api.get(names.PROFILE_KIND, None, name)
        found = None if raw is None else reading.read_profile(raw)
        profiles[name] = (time.monotonic(), found)
        return found


def _selector(key: Key) -> str:
    return f"{names.SELECTOR},{names.LABEL_MODEL}={key.name}"


def words(error: ValidationError) -> str:
    """pydantic's findings in one line."""
    found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"{error.title} is not understood: {found}"[:2000]
