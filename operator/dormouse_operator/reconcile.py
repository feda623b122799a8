"""Observe, plan, apply, tell: one look at one model. The only place where the parts meet, and the one catch-all.

A look never waits for anything to happen: it reads what is there, does what is missing, and says when to look again.
A second look at an unchanged model reads only.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from pydantic import ValidationError

from dormouse_api import names
from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import reading, status
from dormouse_operator.decide.drift import stamped, unchanged
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.observe import Demands, Eyes, Reader, Watcher, words
from dormouse_operator.observed import Model, Observed
from dormouse_operator.plan.model import Plan, plan
from dormouse_operator.queue import Key, WorkQueue
from dormouse_operator.settings import Settings
from dormouse_operator.turns import Turns

log = logging.getLogger(__name__)

Object = dict[str, Any]

LONGEST_WAIT = 3600.0


class Api(Reader, Protocol):
    """The part of `kube.Kube` that a look needs."""

    async def apply(self, body: Object) -> Object: ...
    async def apply_status(self, body: Object) -> bool: ...
    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None: ...


class Told(Protocol):
    """Who hears of a written status (`events.Recorder`, metrics)."""

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
        self._eyes = Eyes(settings, parts.api, parts.watcher, parts.demands)
        self._turns = Turns(settings, parts.api, parts.demands, parts.queue.add, now)

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
        raw = await self._api.get(names.MODEL_KIND, key.namespace, key.name)
        if raw is None or "deletionTimestamp" in raw["metadata"]:
            # children go by their owner references
            self._forget(key)
            return None
        try:
            model = reading.read_model(raw)
            seen = await self._eyes.observe(key, model)
            seen = replace(seen, turn=await self._turns.of(seen))
        except ValidationError as error:
            await self._write_status(key, raw, status.unreadable(raw, words(error), self._now()))
            return None
        self._known.add(key)
        self._parts.demands.size(key, model.spec.scaling.max_replicas > 1)
        todo = plan(seen, self._settings, self._now())
        self._parts.watcher.follow(key, todo.follow)
        refused = await self._apply(seen, todo)
        wanted = status.build(seen, todo, refused, self._now())
        old = model.status
        learnt = (wanted.inspected, wanted.volume, wanted.cooldown) != (old.inspected, old.volume, old.cooldown)
        if await self._write_status(key, raw, wanted):
            self._parts.told.told(model, wanted)
        self._parts.told.seen(key, wanted)
        for job in todo.delete:
            await self._api.delete("Job", key.namespace, job.name, job.uid)
        if learnt:
            return 0.0  # now that it is recorded, what it was learnt from can go: Jobs, a pod that failed
        return None if todo.look_at is None else min(LONGEST_WAIT, max(0.0, todo.look_at - self._now()))

    @property
    def known(self) -> frozenset[Key]:
        """Models that were there at their last look; one that went unnoticed is found by looking at it again."""
        return frozenset(self._known)

    def _forget(self, key: Key) -> None:
        self._known.discard(key)
        self._parts.demands.size(key, False)
        self._parts.watcher.follow(key, None)
        self._parts.queue.forget(key)
        self._parts.told.gone(key)

    async def _apply(self, seen: Observed, todo: Plan) -> Failure | None:
        """Apply what differs, in order; the first refusal is returned and the rest is still tried."""
        refused: Failure | None = None
        for intent in map(stamped, todo.apply):
            present = seen.raw.get((intent["kind"], intent["metadata"]["name"]))
            if unchanged(intent, present):
                continue
            try:
                await self._api.apply(intent)
            except Terminal as error:
                log.error("%s/%s: refused: %s", seen.model.namespace, seen.model.name, error)
                refused = refused or _refusal(todo, intent, error, present)
            except LookupError as error:
                raise Retry(str(error)) from error
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
        return await self._api.apply_status(body)


def _refusal(todo: Plan, intent: Object, error: Terminal, present: object) -> Failure | None:
    """What a refused intent means for the user. A volume that cannot grow may still be large enough: the pull tells."""
    if intent["kind"] == "PersistentVolumeClaim":
        message = f"the API server refuses the volume: {error}"
        if present is not None:
            failure = todo.pipeline.step.failure if todo.pipeline.step else None
            if failure is None or failure.reason is not Reason.NO_SPACE:
                return None
            message = f"the volume is too small and cannot grow ({error}): delete its claim, and the weights are "
            message += "pulled into a new one, or use a StorageClass with allowVolumeExpansion"
        return Failure(reason=Reason.STORAGE_FAILED, message=message[:2000])
    return Failure(reason=Reason.INVALID_SPEC, message=f"the API server refuses the {intent['kind']}: {error}"[:2000])
