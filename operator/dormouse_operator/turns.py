"""Gets the whole pool of a model that shares devices, and asks whose turn it is. Owns the reading; decides nothing.

A turn is never remembered: it would be wrong for the next model that is looked at. What the pool is made of is read
anew whenever anything of it was written, by this process or, as the watches tell, by others; and every few seconds all
the same, because a watch may be behind. Time and the routers' word are those of the look. Looks that come at the same
time share one reading, begun after the last of them came.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.conditions import ConditionType
from dormouse_operator import reading
from dormouse_operator.decide import eviction, preload
from dormouse_operator.decide.contenders import contender, shares
from dormouse_operator.decide.eviction import LATER, Turn
from dormouse_operator.decide.pool import Contender, Traffic
from dormouse_operator.decide.unplaced import ENDED
from dormouse_operator.observed import Demand, Model, Observed, Profile
from dormouse_operator.plan.awake import wants
from dormouse_operator.queue import Key
from dormouse_operator.settings import Settings

log = logging.getLogger(__name__)

Object = dict[str, Any]
KINDS = ("Deployment", "Lease", "Pod")
PLURALS = frozenset({"deployments", "leases", "pods", names.MODEL_PLURAL, names.PROFILE_PLURAL})
"""What a pool is made of."""
FRESH_SECONDS = 10.0
"""Longest time that what was read counts when nobody tells of a change."""
RUNTIMES = f"{names.SELECTOR},{names.LABEL_COMPONENT}={names.COMPONENT_RUNTIME}"


Children = dict[tuple[str, Key], list[Object]]
"""By kind and model."""


@dataclass(frozen=True)
class _Reading:
    """What a pool is made of, as it was after so many changes."""

    changes: int
    at: float
    profiles: dict[str, Profile]
    models: list[Object]
    children: Children


class Lister(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]: ...


class Routers(Protocol):
    """What asks the routers (`demand.Demands`)."""

    def of(self, key: Key) -> Demand | None: ...
    def traffic(self, key: Key, now: float) -> Traffic | None: ...


class Turns:
    """One per process."""

    def __init__(
        self,
        settings: Settings,
        api: Lister,
        routers: Routers,
        nudge: Callable[[Key], None],
        now: Callable[[], float],
    ) -> None:
        """`nudge` asks for a look at a model that is not yet as its turn says; `now` is in seconds since the epoch."""
        self._settings, self._api, self._routers = settings, api, routers
        self._nudge, self._now = nudge, now
        self._next: asyncio.Task[list[Contender]] | None = None
        self._lock = asyncio.Lock()
        self._changes = 0
        self._kept: _Reading | None = None
        self._models: dict[str, tuple[str, Model | None]] = {}

    def changed(self, plural: str | None = None) -> None:
        """Something was written: an object of `plural`, or (None) what this process has just written."""
        if plural is None or plural in PLURALS:
            self._changes += 1

    async def of(self, o: Observed) -> Turn | None:
        """The model's turn; None where there is nothing to share, or nothing of it up and nobody who wants it."""
        if not shares(o.profile) or not self._concerned(o):
            return None
        pool = await self._shared()
        mine = next((c for c in pool if c.key == (o.model.namespace, o.model.name)), None)
        if mine is None:
            return LATER
        rivals = [c for c in pool if c.resource == mine.resource or c.profile == mine.profile]
        turns = eviction.decide(rivals, self._now(), self._settings.turn_seconds)
        for key in eviction.to_do(rivals, turns):
            if key != mine.key:
                self._nudge(Key(*key))
        turn = turns[mine.key]
        if turn.leaving and turn.successor is not None:
            self._nudge(Key(*turn.successor))  # it is told since when room is made: its turn is measured from there
        return turn

    def _concerned(self, o: Observed) -> bool:
        up = o.runtime is not None and (o.runtime.replicas > 0 or o.runtime.asked_at is not None)
        ending = o.runtime is not None and o.runtime.turned_out is not None and bool(o.pods_of("runtime"))
        return up or ending or wants(o, self._now()).replicas > 0

    async def _shared(self) -> list[Contender]:
        """The pool as it is after this call came: a reading that is under way may have begun before."""
        if self._next is None:
            self._next = asyncio.create_task(self._turn_to_read(), name="pool")
        return await asyncio.shield(self._next)

    async def _turn_to_read(self) -> list[Contender]:
        async with self._lock:
            self._next = None
            kept, now = self._kept, self._now()
            if kept is None or kept.changes != self._changes or not 0 <= now - kept.at < FRESH_SECONDS:
                changes = self._changes  # what is written while this is read may be missing from it
                self._kept = kept = _Reading(changes, now, *await self._read())
            return self._pool(kept)

    async def _read(self) -> tuple[dict[str, Profile], list[Object], Children]:
        spaces = self._settings.namespaces or (None,)
        raw_profiles, *rest = await asyncio.gather(
            self._api.list(names.PROFILE_KIND),
            *(self._api.list(names.MODEL_KIND, space) for space in spaces),
            *(self._api.list(kind, space, RUNTIMES) for kind in KINDS for space in spaces),
        )
        profiles = _profiles(raw_profiles)
        models = [item for found in rest[: len(spaces)] for item in found]
        children: Children = {}
        for number, found in enumerate(rest[len(spaces) :]):
            for item in found:
                meta = item["metadata"]
                key = Key(meta["namespace"], (meta.get("labels") or {}).get(names.LABEL_MODEL, ""))
                children.setdefault((KINDS[number // len(spaces)], key), []).append(item)
        return profiles, models, children

    def _pool(self, read: _Reading) -> list[Contender]:
        profiles, models, children = read.profiles, read.models, read.children
        self._models = {raw["metadata"]["uid"]: self._model(raw) for raw in models if _lives(raw)}
        pool = [self._contender(raw, profiles, children) for raw in models]
        known = {Key(raw["metadata"]["namespace"], raw["metadata"]["name"]) for raw in models if _lives(raw)}
        left = [_left(key, found) for (kind, key), found in children.items() if kind == "Pod" and key not in known]
        return [c for c in (*pool, *left) if c is not None]

    def _model(self, raw: Object) -> tuple[str, Model | None]:
        """The model and its version: to read a thousand of them takes longer than all the rest."""
        version = raw["metadata"]["resourceVersion"]
        known = self._models.get(raw["metadata"]["uid"])
        if known is not None and known[0] == version:
            return known
        try:
            return version, reading.read_model(raw)
        except ValidationError:
            return version, None  # its own look tells the user

    def _contender(self, raw: Object, profiles: dict[str, Profile], children: Children) -> Contender | None:
        _, model = self._models.get(raw["metadata"]["uid"], ("", None))
        if model is None:
            return None
        key = Key(model.namespace, model.name)
        profile = profiles.get(model.spec.profile or self._settings.default_profile)
        if not shares(profile):
            return None
        deployment, lease = (next(iter(children.get((kind, key), [])), None) for kind in KINDS[:2])
        now = self._now()
        seen = Observed(
            model=model,
            profile=profile,
            pods=reading.read_pods(children.get(("Pod", key), [])),
            runtime=reading.read_runtime(deployment),
            wish=preload.wish(model, reading.read_lease(lease)),
            demand=self._routers.of(key),
        )
        alone = wants(seen, now)
        wanted = alone.replicas > 0 and _able(seen)
        return contender(seen, wanted, self._routers.traffic(key, now), now, guess=alone.guess)


def _able(o: Observed) -> bool:
    """Whether it has pods or could have some; else it would stand in the line and never go."""
    if o.runtime is not None and o.runtime.replicas > 0:
        return True
    ready = next((c for c in o.model.status.conditions or () if c.type == ConditionType.READY.value), None)
    return ready is None or ready.status == "True" or o.model.status.cooldown is not None


def _lives(raw: Object) -> bool:
    return "deletionTimestamp" not in raw["metadata"]


def _left(key: Key, pods: list[Object]) -> Contender | None:
    """What pods of a deleted model still hold: nobody need be asked, but whoever waits waits for them."""
    held = [found for pod in pods for found in _devices(pod)]
    if not held:
        return None
    nodes: Counter[str] = Counter()
    for node, _, count in held:
        nodes[node] += count
    return Contender(key=(key.namespace, key.name), profile="", resource=held[0][1], nodes=nodes, pods=len(pods))


def _devices(pod: Object) -> Iterator[tuple[str, str, int]]:
    """(node, resource, count) of what the pod holds."""
    node = pod["spec"].get("nodeName")
    if node is None or pod.get("status", {}).get("phase") in ENDED:
        return
    for container in pod["spec"].get("containers", ()):
        for name, count in container.get("resources", {}).get("limits", {}).items():
            if "/" in name:
                yield node, name, int(count)


def _profiles(items: list[Object]) -> dict[str, Profile]:
    found: dict[str, Profile] = {}
    for item in items:
        try:
            profile = reading.read_profile(item)
        except ValidationError as error:
            log.warning("RuntimeProfile %s is not understood: %s", item["metadata"]["name"], error.error_count())
            continue
        found[profile.name] = profile
    return found
