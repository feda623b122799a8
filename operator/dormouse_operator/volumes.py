"""Reads what a model's volume has to do with other models, and lets those that share one go in turns.

Owns the reading and the turns; `plan/sharing.py` decides. Asked for only while something about a volume is open.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_operator import reading
from dormouse_operator.decide import facts as known
from dormouse_operator.decide.quantities import to_bytes
from dormouse_operator.observed import Claim, Model, Observed
from dormouse_operator.plan import sharing, sweep

Object = dict[str, Any]
CLAIM = "PersistentVolumeClaim"
CLASS = "StorageClass"


class Reader(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None: ...
    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]: ...


class Volumes:
    """One per process."""

    def __init__(self, api: Reader) -> None:
        self._api = api
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def alone(self, model: Model) -> AsyncIterator[None]:
        """Nobody else looks at a model that may write to the same volume: what is read stays true until it is used."""
        key = sharing.company(model)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            yield

    async def find(self, o: Observed) -> Observed:
        """With the claim that it uses, where the one by its name is not there: its own, or one it can share."""
        model, facts = o.model, known.recorded(o.model)
        if o.claim is not None or model.spec.storage.existing_claim is not None or facts is None or o.profile is None:
            return o
        volume = model.status.volume
        if volume is not None and volume.claim not in (None, names.weights_name(model.name)):
            own = await self._api.get(CLAIM, model.namespace, names.weights_name(model.name))
            if own is not None:
                return _with(o, own)
        if not sharing.shares(model):
            return o
        selector = f"{names.SELECTOR},{names.LABEL_SOURCE}={sharing.source_label(model)}"
        raw = {item["metadata"]["name"]: item for item in await self._api.list(CLAIM, model.namespace, selector)}
        claims = [c for item in raw.values() if (c := reading.read_claim(item)) and await self._lives(model, c)]
        found = sharing.pick(model, facts.commit, o.profile, claims)
        return o if found is None else _with(o, raw[found.name])

    async def at_work(self, o: Observed) -> Observed:
        """With the Jobs of others that write to its volume."""
        if o.claim is None or not sharing.others(o.claim, o.model):
            return o
        jobs = [reading.read_job(job) for job in await self._api.list("Job", o.model.namespace, _on(o.claim))]
        going = (j for j in jobs if j.model != o.model.name and not j.complete and j.failed_reason is None)
        return replace(o, at_work=tuple(going))

    async def room(self, o: Observed, needed: int | None, failure: Failure | None) -> Observed:
        """With whether its volume can grow, where it would have to."""
        claim = o.claim
        if claim is None or needed is None or not claim.class_name or not claim.bound:
            return o
        full = failure is not None and failure.reason is Reason.NO_SPACE
        if o.model.spec.storage.existing_claim is not None or (not full and to_bytes(claim.requested) >= needed):
            return o
        found = await self._api.get(CLASS, None, claim.class_name)
        return replace(o, expandable=found is not None and found.get("allowVolumeExpansion") is True)

    async def needs(self, o: Observed) -> Observed:
        """With what others need of its volume, where folders of it are to go; not while one of them does not tell."""
        if o.claim is None or not sweep.asks(o):
            return o
        models, pods = await asyncio.gather(
            self._api.list(names.MODEL_KIND, o.model.namespace),
            self._api.list("Pod", o.model.namespace, _on(o.claim)),
        )
        needed: set[str] = set()
        for raw in models:
            meta, volume = raw["metadata"], (status := reading.read_status(raw)).volume
            if meta["uid"] == o.model.uid:
                continue
            if volume is None and sharing.named(o.claim, meta["uid"], meta["name"]):
                return o  # it has just come, or its status is not understood
            if volume is not None and volume.claim_uid == o.claim.uid:
                needed |= sweep.needed_by(status)
        present = (pod for pod in reading.read_pods(pods) if pod.phase not in sweep.ENDED)
        mounted = frozenset[str]().union(*(pod.uses for pod in present if pod.component != names.COMPONENT_SWEEP))
        return replace(o, needed=frozenset(needed), mounted=mounted)

    async def _lives(self, model: Model, claim: Claim) -> bool:
        """Whether somebody has the claim still: one whose last model has just gone is about to go too."""
        if not claim.owners or any(uid == model.uid for uid, _ in claim.owners):
            return True
        for uid, name in claim.owners:
            raw = await self._api.get(names.MODEL_KIND, model.namespace, name)
            if raw is not None and raw["metadata"]["uid"] == uid and "deletionTimestamp" not in raw["metadata"]:
                return True
        return False


def _with(o: Observed, raw: Object) -> Observed:
    return replace(o, claim=reading.read_claim(raw), raw={**o.raw, (CLAIM, raw["metadata"]["name"]): raw})


def _on(claim: Claim) -> str:
    return f"{names.SELECTOR},{names.LABEL_CLAIM}={names.claim_label(claim.name)}"
