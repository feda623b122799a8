"""Reads one model's surroundings from the API server and the pollers into one frozen `Observed`.

Existence is read each time, never remembered: a relist after an outage tells nothing of what was deleted.
"""

import asyncio
import time
from dataclasses import replace
from typing import Any, Protocol

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.results import Progress
from dormouse_api.runtime import RuntimeState
from dormouse_operator import reading
from dormouse_operator.decide import preload
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.observed import Demand, Model, Observed, Pod, Profile
from dormouse_operator.plan import pipeline
from dormouse_operator.plan.storage import claim_name
from dormouse_operator.queue import Key
from dormouse_operator.settings import Settings

Object = dict[str, Any]

PROFILE_SECONDS = 2.0
"""How long a profile that was read is taken for present; its events end that at once."""
BY_NAME = ("Deployment", "Lease", "Service")
"""Children of which there is one, all of the same name."""


class Reader(Protocol):
    """The reading part of `kube.Kube`."""

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None: ...
    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]: ...


class Watcher(Protocol):
    """What asks pull and runtime pods themselves (`pods.Pods`)."""

    def follow(self, key: Key, pod: Pod | None) -> None: ...
    def progress(self, key: Key) -> Progress | None: ...
    def state(self, key: Key) -> RuntimeState | None: ...


class Demands(Protocol):
    """What asks the routers (`demand.Demands`)."""

    def of(self, key: Key) -> Demand | None: ...
    def traffic(self, key: Key, now: float) -> Traffic | None: ...
    def size(self, key: Key, wanted: bool) -> None: ...


class Eyes:
    """One per process."""

    def __init__(self, settings: Settings, api: Reader, watcher: Watcher, demands: Demands) -> None:
        self._settings = settings
        self._api = api
        self._watcher = watcher
        self._demands = demands
        self._profiles: dict[str, tuple[float, Profile | None]] = {}

    def forget_profiles(self) -> None:
        """A profile changed: read it anew."""
        self._profiles.clear()

    async def observe(self, key: Key, model: Model) -> Observed:
        """By name where there is one child, by label where there may be more; Jobs only while a stage needs them.

        pydantic's ValidationError when the profile is of a version that nobody here understands.
        """
        child, claim = names.runtime_name(key.name), claim_name(model)
        selector = f"{names.SELECTOR},{names.LABEL_MODEL}={key.name}"
        profile, pods, claim_raw, children = await asyncio.gather(
            self._profile(model),
            self._api.list("Pod", key.namespace, selector),
            self._api.get("PersistentVolumeClaim", key.namespace, claim),
            asyncio.gather(*(self._api.get(kind, key.namespace, child) for kind in BY_NAME)),
        )
        by_kind = dict(zip(BY_NAME, children, strict=True))
        raw = {(kind, child): found for kind, found in by_kind.items() if found is not None}
        if claim_raw is not None:
            raw["PersistentVolumeClaim", claim] = claim_raw
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
            demand=self._demands.of(key),
            raw=raw,
        )
        if not pipeline.needs_jobs(seen, self._settings):
            return replace(seen, jobs=())
        jobs = await self._api.list("Job", key.namespace, selector)
        return replace(seen, jobs=tuple(reading.read_job(job) for job in jobs))

    async def _profile(self, model: Model) -> Profile | None:
        name = model.spec.profile or self._settings.default_profile
        at, known = self._profiles.get(name, (float("-inf"), None))
        if time.monotonic() - at < PROFILE_SECONDS:
            return known
        raw = await self._api.get(names.PROFILE_KIND, None, name)
        found = None if raw is None else reading.read_profile(raw)
        self._profiles[name] = (time.monotonic(), found)
        return found


def words(error: ValidationError) -> str:
    """pydantic's findings in one line."""
    found = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return f"{error.title} is not understood: {found}"[:2000]
