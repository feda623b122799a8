"""Gets all pulls that are under way, and asks who is next. Owns the reading and the line; decides nothing.

Who waits is known from the looks at the models themselves, and after a restart from their statuses, which have it since
when. What is pulled is read anew before a place is given, and now and then for those at the line's head. Between the
moment a place is given and the moment the Job is seen this process alone knows of it, and notes it: only one process
acts at a time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from dormouse_api import names
from dormouse_api.lease import parse_time
from dormouse_operator import reading
from dormouse_operator.decide import pulls
from dormouse_operator.decide.attempts import Step
from dormouse_operator.decide.pulls import Spot, Waiting
from dormouse_operator.decide.underway import holds
from dormouse_operator.observed import Observed, Pod
from dormouse_operator.plan.pipeline import Pipeline
from dormouse_operator.queue import Key
from dormouse_operator.settings import Settings

Object = dict[str, Any]

PULLS = f"{names.SELECTOR},{names.LABEL_COMPONENT}={names.COMPONENT_PULL}"
GIVEN_SECONDS = 30.0
"""How long a place that was given is kept without a Job."""
AGAIN_SECONDS = 15.0
"""Until the next in line looks again: some ends have no event, such as a pod that turns out to be stuck."""
RECENT_SECONDS = 1.0
"""So long what was read tells the head of the line that no place is free; one that becomes free is told of at once."""
SHOWN = 10
"""So many at the head of the line are told of every step at once; those behind when they are looked at."""
COUNTED = 50
"""In a line no longer than this they are told of its length, too, whenever it changes."""


class Lister(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def unfinished(self, kind: str, namespace: str | None, selector: str) -> list[Object]: ...
    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]: ...


class Pulls:
    """One per process."""

    def __init__(self, settings: Settings, api: Lister, nudge: Callable[[Key], None], now: Callable[[], float]) -> None:
        """`nudge` asks for a look at a model whose spot is another than it was told; `now`: seconds since the epoch."""
        self._settings, self._api, self._nudge, self._now = settings, api, nudge, now
        self._places = settings.max_concurrent_pulls
        self._spaces = settings.namespaces or (None,)
        self._waiting: dict[Key, Waiting] = {}
        self._told: dict[Key, tuple[int, int]] = {}
        self._given: dict[Key, float] = {}
        self._held: list[Key] = []
        self._remembered = False
        self._read_at = 0.0
        self._next: asyncio.Task[dict[Key, bool]] | None = None
        self._lock = asyncio.Lock()

    async def spot(self, o: Observed, p: Pipeline) -> Spot | None:
        """The model's spot; None where its pull is not the next thing to do."""
        key = Key(o.model.namespace, o.model.name)
        stage = p.stage if p.blocked is None else None
        if stage != names.COMPONENT_PULL or p.step is None or p.step.step is not Step.START:
            works = stage == names.COMPONENT_PULL and p.step is not None and p.step.step is Step.RUNNING
            self._leave(key, works=works and p.step is not None and p.step.failure is None)
            return None
        now = self._now()
        if (behind := self._behind(key, o, now)) is not None:
            return self._take(key, behind, now)
        under_way = await self._shared()
        now = self._now()
        held = self._hold(under_way, now)
        self._waiting[key] = self._as_waiting(key, o, now)
        if key in self._given:
            return Spot(True, self._waiting.pop(key).since, places=self._places)
        return self._take(key, pulls.decide(self._waiting.values(), held, self._places), now)

    def _behind(self, key: Key, o: Observed, now: float) -> dict[tuple[str, str], Spot] | None:
        """The spots as of the last reading, for one that has no place by it: too old to give a place by, and good
        enough to say that there is none. The head of the line may trust it for a moment only.
        """
        if not self._remembered or key in self._given or key in self._held:
            return None  # its own pull before this one, of the weights say, has ended since
        self._waiting[key] = self._as_waiting(key, o, now)
        spots = pulls.decide(self._waiting.values(), self._held, self._places)
        recent = 0 <= now - self._read_at < RECENT_SECONDS
        return spots if spots[key].position > (0 if recent else self._places) else None

    def gone(self, key: Key) -> None:
        """The model is no more."""
        self._leave(key, works=False)

    def _take(self, key: Key, spots: dict[tuple[str, str], Spot], now: float) -> Spot:
        """Note what is given, and tell the others that stand elsewhere now."""
        mine = spots[key]
        if mine.go:
            self._given[key] = now
            self._waiting.pop(key)
            self._told.pop(key, None)
        else:
            self._told[key] = _shown(mine.position, mine.of)
        for other, spot in spots.items():
            moved = spot.position <= SHOWN and self._told.get(Key(*other)) != _shown(spot.position, spot.of)
            if other != key and (spot.go or moved):
                self._nudge(Key(*other))
        return mine if mine.go or mine.position > self._places else replace(mine, look_at=now + AGAIN_SECONDS)

    def _leave(self, key: Key, *, works: bool) -> None:
        """The model waits no more, or its pull has ended: the next are looked at."""
        moves = self._waiting.pop(key, None) is not None
        self._told.pop(key, None)
        if not works and (key in self._held or key in self._given):
            self._given.pop(key, None)
            self._held = [other for other in self._held if other != key]
            moves = True
        if moves:
            for waiting in pulls.line(self._waiting.values(), self._held)[: self._places]:
                self._nudge(Key(*waiting.key))

    def _hold(self, under_way: dict[Key, bool], now: float) -> list[Key]:
        """Who holds a place, longest first: pulls that work, and places that were given a moment ago."""
        self._given = {k: at for k, at in self._given.items() if k not in under_way and now < at + GIVEN_SECONDS}
        self._held = [*(key for key, holding in under_way.items() if holding), *self._given]
        return self._held

    def _as_waiting(self, key: Key, o: Observed, now: float) -> Waiting:
        known, told = self._waiting.get(key), o.model.status.queue
        since = parse_time(told.since) if told is not None else known.since if known is not None else now
        called = (o.wish is not None and o.wish.ends > now) or (o.demand is not None and o.demand.now > 0)
        return Waiting(key, o.model.spec.priority, since, called)

    async def _shared(self) -> dict[Key, bool]:
        """All pulls as they are after this call came: a reading that is under way may have begun before."""
        if self._next is None:
            self._next = asyncio.create_task(self._turn_to_read(), name="pulls")
        return await asyncio.shield(self._next)

    async def _turn_to_read(self) -> dict[Key, bool]:
        async with self._lock:
            self._next = None
            if not self._remembered:
                await self._remember()
            self._read_at = self._now()
            return await self._read()

    async def _remember(self) -> None:
        """Those who waited already when this process began."""
        found = await asyncio.gather(*(self._api.list(names.MODEL_KIND, space) for space in self._spaces))
        for raw in (item for items in found for item in items):
            queue, meta = reading.read_status(raw).queue, raw["metadata"]
            key = Key(meta["namespace"], meta["name"])
            if queue is None or key in self._waiting:
                continue
            priority = raw["spec"].get("priority", 0)
            self._waiting[key] = Waiting(key, priority, parse_time(queue.since))
            self._told[key] = _shown(queue.position, queue.of)
        self._remembered = True

    async def _read(self) -> dict[Key, bool]:
        """Models with an unfinished pull Job or pods of one, the oldest first; whether each holds a place.

        Those that succeeded hold none, and hundreds may wait for the look that records and removes them.
        """
        found = await asyncio.gather(
            *(self._api.unfinished(kind, space, PULLS) for kind in ("Job", "Pod") for space in self._spaces)
        )
        half = len(self._spaces)
        jobs = [(_key(raw), reading.read_job(raw)) for items in found[:half] for raw in items]
        pods: dict[Key, list[Pod]] = {}
        for raw in (item for items in found[half:] for item in items):
            pods.setdefault(_key(raw), []).append(reading.read_pod(raw))
        now, seen = self._now(), dict[Key, bool]()
        for key, job in sorted(jobs, key=lambda entry: (entry[1].created, entry[0])):
            own = [pod for pod in pods.get(key, ()) if pod.job == job.name]
            seen[key] = seen.get(key, False) or holds(job, own, now)
        names_of = {job.name for _, job in jobs}
        for key, left in pods.items():  # of Jobs that are gone
            if holds(None, [pod for pod in left if pod.job not in names_of], now):
                seen[key] = True
        return seen


def _shown(position: int, of: int) -> tuple[int, int]:
    return position, min(of, COUNTED + 1)


def _key(raw: Object) -> Key:
    meta = raw["metadata"]
    return Key(meta["namespace"], (meta.get("labels") or {}).get(names.LABEL_MODEL, ""))
