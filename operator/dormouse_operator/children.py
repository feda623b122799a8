"""Watches of models' children: each event is heard once, and where some may have been missed, that is told.

Only what happens counts, never what is there: existence is read by the looks. So nothing is listed at a start, objects
come as their metadata where that is enough, and nothing of them is kept.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from dormouse_api.names import SELECTOR
from dormouse_operator.errors import Gone, Retry, Silence, Terminal

log = logging.getLogger(__name__)

Object = dict[str, Any]
Hear = Callable[[str, str, Object], object]
"""Called with (plural, kind of event, object)."""

AGAIN_SECONDS = 0.1
"""Between the end of a watch and the next: the API server ends each after some minutes."""
PAUSES = (0.2, 0.5, 1, 1, 2, 2, 3, 3) + (5,) * 6
"""Seconds after refusals in a row. 43 s of them end the process, so that everybody sees it; silence never does."""


@dataclass(frozen=True)
class Child:
    """A kind that is watched. `whole`: its metadata do not tell enough."""

    kind: str
    plural: str
    whole: bool = False


CHILDREN = (
    Child("Deployment", "deployments", whole=True),  # pods that are refused show in its status alone
    Child("Job", "jobs"),
    Child("Lease", "leases"),
    Child("PersistentVolumeClaim", "persistentvolumeclaims"),
    Child("Pod", "pods"),
    Child("Service", "services"),
)


class Api(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def position(self, kind: str, namespace: str | None, selector: str) -> str: ...
    def watch(
        self, kind: str, namespace: str | None, selector: str, since: str, *, whole: bool
    ) -> AsyncIterator[Object]: ...


class Children:
    """One per process; `run` it."""

    def __init__(self, api: Api, namespaces: Iterable[str], hear: Hear, missed: Callable[[], object]) -> None:
        """`missed` is called when events may have gone unheard: everything is to be looked at."""
        self._api, self._hear, self._missed = api, hear, missed
        self._spaces: tuple[str | None, ...] = tuple(namespaces) or (None,)
        self._to_begin = len(CHILDREN) * len(self._spaces)
        self.begun = asyncio.Event()
        """Whatever is written from now on is heard: what is read after this has no gap."""

    async def run(self) -> None:
        """Until cancelled; raises what one of them was refused with for too long."""
        await asyncio.gather(*(self._follow(child, space) for child in CHILDREN for space in self._spaces))

    async def _follow(self, child: Child, space: str | None) -> None:
        since, failures = await self._begin(child, space), 0
        while True:
            try:
                if not since:
                    since = await self._api.position(child.kind, space, SELECTOR)
                    self._missed()
                async for event in self._api.watch(child.kind, space, SELECTOR, since, whole=child.whole):
                    since, failures = event["object"]["metadata"]["resourceVersion"], 0
                    if event["type"] != "BOOKMARK":
                        self._hear(child.plural, event["type"], event["object"])
                pause: float = AGAIN_SECONDS
            except Gone:
                since, pause = "", AGAIN_SECONDS
            except (Retry, Terminal) as error:
                pause, failures = _pause(child, error, failures), failures + 1
            await asyncio.sleep(pause)

    async def _begin(self, child: Child, space: str | None) -> str:
        failures = 0
        while True:
            try:
                since = await self._api.position(child.kind, space, SELECTOR)
                break
            except (Retry, Terminal) as error:
                pause, failures = _pause(child, error, failures), failures + 1
            await asyncio.sleep(pause)
        self._to_begin -= 1
        if not self._to_begin:
            self.begun.set()
        return since


def _pause(child: Child, error: Retry | Terminal, failures: int) -> float:
    """Seconds until the next try; the error itself where there have been enough."""
    log.warning("watch of %s: %s", child.plural, error)
    if failures >= len(PAUSES) and not isinstance(error, Silence):
        raise error
    return PAUSES[min(failures, len(PAUSES) - 1)]
