"""Posts Kubernetes Events (events.k8s.io/v1), repeated ones as one event with a count.

Events are a courtesy: posting happens beside the looks, from a bounded queue, and a failure to post is only logged.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dormouse_api import names
from dormouse_api.lease import micro_time
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.happenings import Happening
from dormouse_operator.observed import Model

log = logging.getLogger(__name__)

QUEUED = 1000
REMEMBERED = 2000
SAME = 600.0
"""Seconds within which an equal event only raises the count of the first."""
CONTROLLER = f"{names.GROUP}/operator"
NOTE_LIMIT = 1000


class Poster(Protocol):
    async def create_event(self, body: dict[str, Any]) -> None: ...
    async def merge_event(self, namespace: str, name: str, body: dict[str, Any]) -> bool: ...


@dataclass
class _Posted:
    name: str
    count: int
    last: float


class Recorder:
    """One per process. `instance` names this operator pod in the events."""

    def __init__(self, poster: Poster, instance: str, now: Callable[[], float] = time.time) -> None:
        self._poster = poster
        self._instance = instance[:128]
        self._now = now
        self._queue: asyncio.Queue[tuple[Model, Happening, float]] = asyncio.Queue(QUEUED)
        self._posted: OrderedDict[tuple[str, str, str], _Posted] = OrderedDict()

    def record(self, model: Model, happening: Happening) -> None:
        """Post soon; drops when too many wait."""
        try:
            self._queue.put_nowait((model, happening, self._now()))
        except asyncio.QueueFull:
            log.warning("too many events wait: dropped %s of %s/%s", happening.reason, model.namespace, model.name)

    @property
    def waiting(self) -> int:
        """Events that are not posted yet."""
        return self._queue.qsize()

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            model, happening, at = await self._queue.get()
            try:
                await self.post(model, happening, at)
            except (Retry, Terminal) as error:
                log.warning("event %s of %s/%s: %s", happening.reason, model.namespace, model.name, error)

    async def post(self, model: Model, happening: Happening, at: float) -> None:
        """Post one event, or raise the count of an equal one; one of a kind has its name from what it tells of."""
        if happening.once:
            name = f"{model.name}.{names.digest(model.uid, happening.reason, happening.once, length=16)}"
            await self._poster.create_event(self._body(model, happening, name, at))
            return
        id_ = (model.uid, happening.reason, happening.note)
        known = self._posted.get(id_)
        if known is not None and at - known.last < SAME:
            known.count, known.last = known.count + 1, at
            series = {"series": {"count": known.count, "lastObservedTime": micro_time(at)}}
            if await self._poster.merge_event(model.namespace, known.name, series):
                return
        name = f"{model.name}.{names.digest(model.uid, happening.reason, micro_time(at), length=16)}"
        self._posted[id_] = _Posted(name, 1, at)
        self._posted.move_to_end(id_)
        while len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)
        await self._poster.create_event(self._body(model, happening, name, at))

    def _body(self, model: Model, happening: Happening, name: str, at: float) -> dict[str, Any]:
        regarding = {
            "apiVersion": names.API_VERSION,
            "kind": names.MODEL_KIND,
            "namespace": model.namespace,
            "name": model.name,
            "uid": model.uid,
        }
        return event(regarding, happening, name, at, self._instance)


def event(regarding: dict[str, Any], happening: Happening, name: str, at: float, instance: str) -> dict[str, Any]:
    """An Event named `name` beside the object that it regards; `at` in seconds since the epoch."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": regarding["namespace"]},
        "eventTime": micro_time(at),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "reason": happening.reason,
        "action": happening.action,
        # the API server counts bytes
        "note": happening.note.encode()[:NOTE_LIMIT].decode(errors="ignore"),
        "type": "Warning" if happening.warning else "Normal",
        "regarding": regarding,
    }
