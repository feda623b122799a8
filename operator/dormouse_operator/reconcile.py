"""Observe, plan, apply, tell: one look at one model. The only place where the parts meet, and the one catch-all.

A look never waits for anything to happen: it reads what is there, does what is missing, and says when to look again.
A second look at an unchanged model reads only.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import reading, status
from dormouse_operator.bulk import Bulk, Shelf
from dormouse_operator.decide import gpus, recheck
from dormouse_operator.decide.drift import stamped, unchanged
from dormouse_operator.decide.remedies import REFUSALS, REFUSALS_LAST, remedy
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.observe import Ahead, Demands, Eyes, Reader, Watcher, words
from dormouse_operator.observed import Model, Observed
from dormouse_operator.plan import pipeline, sharing
from dormouse_operator.plan.model import Plan, plan
from dormouse_operator.plan.storage import manager
from dormouse_operator.pulls import Pulls
from dormouse_operator.queue import Key, WorkQueue
from dormouse_operator.settings import Settings
from dormouse_operator.turns import Turns

log = logging.getLogger(__name__)

Object = dict[str, Any]
T = TypeVar("T")

CLAIM = "PersistentVolumeClaim"
LONGEST_WAIT = 3600.0
FORBIDDEN = " is forbidden: "
"""In what admission says, whatever its code: a policy's is 422."""
WEBHOOK = "failed calling webhook"
"""A webhook that does not answer may do so for long: it is told, not only tried again."""


class Api(Reader, Protocol):
    """The part of `kube.Kube` that a look needs."""

    async def unfinished(self, kind: str, namespace: str | None, selector: str) -> list[Object]: ...
    async def apply(self, body: Object, manager: str) -> Object: ...
    async def apply_status(self, body: Object) -> bool: ...
    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None: ...


class Told(Protocol):
    """Who hears of a written status (`events.Recorder`, metrics)."""

    def met(self, model: Model) -> None: ...
    def told(self, model: Model, new: InferenceModelStatus) -> None: ...
    def seen(self, key: Key, status: InferenceModelStatus) -> None: ...
    def gone(self, key: Key) -> None: ...
    def looked(self, result: str, seconds: float) -> None: ...


@dataclass(frozen=True)
class Parts:
    """What a look works with."""

    api: Api
    queue: WorkQueue
    watcher: Watcher
    demands: Demands
    told: Told


class Reconciler:
    """One per process; `look` is what the queue's workers call."""

    def __init__(self, settings: Settings, parts: Parts, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._parts = parts
        self._api = parts.api
        self._now = now
        self._known: set[Key] = set()
        bulk = Bulk(parts.api, parts.queue, settings.namespaces)
        self._eyes = Eyes(settings, parts.api, bulk, (parts.watcher, parts.demands), now)
        self._turns = Turns(settings, parts.api, parts.demands, parts.queue.add, now)
        self._pulls = Pulls(settings, parts.api, parts.queue.add, now)

    async def look(self, key: Key) -> None:
        """One look, settled with the queue whatever happens."""
        queue, began, result = self._parts.queue, time.monotonic(), "ok"
        try:
            queue.done(key, await self.reconcile(key))
        except Retry as error:
            result = "retry"
            delay = queue.failed(key, error.after)
            log.warning("%s: %s; again in %.1f s", key, error, delay)
        except Terminal as error:
            result = "refused"
            queue.done(key, LONGEST_WAIT)
            log.error("%s: refused: %s", key, error)
        except Exception:  # the one catch-all: a bug in one model's look must not end the others'
            result = "bug"
            delay = queue.failed(key)
            log.exception("%s: the look failed; again in %.1f s", key, delay)
        except BaseException:
            queue.failed(key)
            raise
        finally:
            self._parts.told.looked(result, time.monotonic() - began)

    def forget_profiles(self) -> None:
        """A profile changed: read it anew."""
        self._eyes.forget_profiles()

    async def reconcile(self, key: Key) -> float | None:
        """One look; seconds until the next one, or None. Raises Retry, Terminal, or anything for a bug."""
        ahead = await self._eyes.ahead(key)
        try:
            return await self._reconcile(key, ahead)
        finally:
            ahead.drop()

    async def _reconcile(self, key: Key, ahead: Ahead | Shelf) -> float | None:
        raw = await self._api.get(names.MODEL_KIND, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            # children go by their owner references
            self._forget(key)
            return None
        try:
            model = reading.read_model(raw)
        except ValidationError as error:
            await self._write_status(key, raw, status.unreadable(raw, words(error), self._now()))
            return None
        if sharing.unsettled(model):
            async with self._eyes.alone(model):
                return await self._settle(key, raw, model, None)
        return await self._settle(key, raw, model, ahead)

    async def _settle(self, key: Key, raw: Object, model: Model, ahead: Ahead | Shelf | None) -> float | None:
        """The look at a model that is there. Without what was read `ahead`: nobody else looks at one that may write to
        the same volume.
        """
        try:
            seen, todo = await self._planned(key, raw, model, ahead)
        except ValidationError as error:
            await self._write_status(key, raw, status.unreadable(raw, words(error), self._now()))
            return None
        if key not in self._known:
            self._known.add(key)
            self._parts.told.met(model)
        ready = [p.ip for p in seen.pods_of("runtime") if p.ip and p.ready_at is not None and not p.deleting]
        self._parts.demands.size(key, model.spec.scaling.max_replicas > 1, tuple(ready))
        if ahead is not None and any(_writes_volume(intent) for intent in todo.apply):
            async with self._eyes.alone(model):
                return await self._settle(key, raw, model, None)
        self._parts.watcher.follow(key, todo.follow)
        self._parts.watcher.watch(key, gpus.asked(seen.pods_of("runtime"), seen.profile))
        refused = None if seen.shared else await self._apply(seen, todo)  # of what is shared nothing differs
        wanted = status.build(seen, todo, refused, self._now())
        old = model.status
        learnt = _memory(wanted) != _memory(old)
        if not seen.shared and await self._write_status(key, raw, wanted):
            self._parts.told.told(model, wanted)
            if wanted.usage != old.usage:
                self._parts.demands.settled(key, seen.tally)
        self._parts.told.seen(key, wanted)
        for job in todo.delete:
            await self._api.delete("Job", key.namespace, job.name, job.uid)
        if todo.delete and seen.claim is not None:
            # no watch tells those who wait for its Jobs on their volume that these are gone
            for other in sorted(sharing.members(seen.claim) - {key.name}):
                self._parts.queue.add(Key(key.namespace, other))
        if learnt:
            return 0.0  # now that it is recorded, what it was learnt from can go: Jobs, a pod that failed
        waits = [] if todo.look_at is None else [min(LONGEST_WAIT, max(0.0, todo.look_at - self._now()))]
        if refused is not None:
            waits.append(recheck.again_in(model, self._now()))
        return min(waits, default=None)

    def heard(self, plural: str) -> None:
        """An object of `plural` was written by somebody."""
        self._turns.changed(plural)

    async def _planned(self, key: Key, raw: Object, model: Model, ahead: Ahead | Shelf | None) -> tuple[Observed, Plan]:
        """What is there and what is to do; of a reading for many only where that is nothing."""
        seen = await self._eyes.observe(key, model, ahead)
        stage = pipeline.run(seen, self._settings, self._now())
        seen = replace(seen, turn=await self._turns.of(seen), spot=await self._pulls.spot(seen, stage))
        todo = plan(seen, self._settings, self._now())
        if seen.shared and self._writes(seen, todo, raw):
            return await self._planned(key, raw, model, None)
        return seen, todo

    def _writes(self, seen: Observed, todo: Plan, raw: Object) -> bool:
        """Whether the plan changes anything."""
        if todo.delete or any(not unchanged(intent, _present(seen, intent)) for intent in map(stamped, todo.apply)):
            return True
        wanted = status.build(seen, todo, None, self._now())
        return not status.same(raw.get("status") or {}, wanted.wire())

    @property
    def known(self) -> frozenset[Key]:
        """Models that were there at their last look; one that went unnoticed is found by looking at it again."""
        return frozenset(self._known)

    def _forget(self, key: Key) -> None:
        self._known.discard(key)
        self._pulls.gone(key)
        self._parts.demands.size(key, False)
        self._parts.demands.settled(key, None)
        self._parts.watcher.follow(key, None)
        self._parts.watcher.watch(key, {})
        self._parts.queue.forget(key)
        self._parts.told.gone(key)

    async def _apply(self, seen: Observed, todo: Plan) -> Failure | None:
        """Apply what differs, in order; the first refusal is returned and the rest is still tried."""
        refused: Failure | None = None
        for wanted in todo.apply:
            of_claim = wanted["kind"] == CLAIM  # planned only where it differs, for several models may have one
            intent = wanted if of_claim else stamped(wanted)
            present = _present(seen, intent)
            if not of_claim and unchanged(intent, present):
                continue
            try:
                by = manager(seen.model.name) if of_claim else names.FIELD_MANAGER
                await self._written(self._api.apply(intent, by))
            except Terminal as error:
                log.error("%s/%s: refused: %s", seen.model.namespace, seen.model.name, error)
                refused = refused or _refusal(todo, intent, error, present)
            except LookupError as error:
                raise Retry(str(error)) from error
            except Retry as error:
                if WEBHOOK not in str(error):
                    raise
                refused = refused or _refusal(todo, intent, error, present)
        return refused

    async def _write_status(self, key: Key, raw: Object, wanted: InferenceModelStatus) -> bool:
        """Write the status if it says anything new; whether it was written."""
        new = wanted.wire()
        if status.same(raw.get("status") or {}, new):
            return False
        body = {
            "apiVersion": names.API_VERSION,
            "kind": names.MODEL_KIND,
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": new,
        }
        return await self._written(self._api.apply_status(body))

    async def _written(self, request: Awaitable[T]) -> T:
        """The write's answer. A pool that was read before it counts no more, even where it seems to have failed."""
        try:
            return await request
        finally:
            self._turns.changed()


def _memory(status: InferenceModelStatus) -> tuple[object, ...]:
    """What a later look relies on instead of the Jobs and pods that it was learnt from."""
    return (status.inspected, status.volume, status.cooldown, status.adapters)


def _writes_volume(intent: Object) -> bool:
    """Whether it makes or changes a volume, or what lies on one."""
    return intent["kind"] == CLAIM or names.LABEL_CLAIM in intent["metadata"]["labels"]


def _present(seen: Observed, intent: Object) -> Mapping[str, Any] | None:
    return seen.raw.get((intent["kind"], intent["metadata"]["name"]))


def _refusal(todo: Plan, intent: Object, error: Exception, present: object) -> Failure | None:
    """What a refused intent means for the user. A volume that cannot grow may still be large enough: the pull tells."""
    if intent["kind"] == CLAIM:
        message = f"the API server refuses the volume: {error}"
        if present is not None:
            failure = todo.pipeline.step.failure if todo.pipeline.step else None
            if failure is None or failure.reason is not Reason.NO_SPACE:
                return None
            message = f"the volume is too small and cannot grow ({error}): delete its claim, and the weights are "
            message += "pulled into a new one, or use a StorageClass with allowVolumeExpansion"
        else:
            message = f"{message}: {remedy(REFUSALS, REFUSALS_LAST, str(error))[0]}"
        return Failure(reason=Reason.STORAGE_FAILED, message=message[:2000])
    forbidden = not isinstance(error, Terminal) or error.code == HTTPStatus.FORBIDDEN or FORBIDDEN in str(error)
    fix, _ = remedy(REFUSALS, REFUSALS_LAST, str(error))
    message = f"the API server refuses the {intent['kind']}: {str(error)[:1500]}: {fix}"
    return Failure(reason=Reason.REFUSED if forbidden else Reason.INVALID_SPEC, message=message)
