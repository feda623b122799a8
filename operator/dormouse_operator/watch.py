"""kopf, for watching only: an event puts a key into the queue and does nothing else.

kopf keeps no truth for us. A relist after an outage tells nothing of deletions, so existence is always read, and
`resync` looks at everything again from time to time.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Protocol, cast

import kopf

from dormouse_api import names
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.queue import Key, Level, WorkQueue
from dormouse_operator.reading import read_lease, replica_failure
from dormouse_operator.settings import Settings

log = logging.getLogger(__name__)

MODELS = (names.GROUP, names.VERSION, names.MODEL_PLURAL)
PROFILES = (names.GROUP, names.VERSION, names.PROFILE_PLURAL)
SPEC_ONLY = frozenset({names.MODEL_PLURAL, "deployments"})
"""Kinds whose status is ours or says nothing new (but for pods that are refused): the rest alone is worth a look."""
BURSTS = frozenset({"deployments", "jobs", "persistentvolumeclaims", "pods"})
"""Kinds that change several times within moments when anything happens: made, placed, started, counted; and claims,
on which Kubernetes notes that the last of their pods has gone."""
SPACING = 0.1
"""Seconds between two looks for such events: nobody who waits for a pod waits for our word of it."""

CHUNK = 100
"""Models of one page of a first list: some kilobytes each on the wire, ten times that as objects."""
REMEMBERED = 50_000


class Lister(Protocol):
    """The part of `kube.Kube` that is needed."""

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[dict[str, Any]]: ...
    def each(self, kind: str, namespace: str | None = None, selector: str = "") -> AsyncIterator[dict[str, Any]]: ...


class Watch:
    """Turns events into keys. `profile_changed` is called when any RuntimeProfile changes."""

    def __init__(self, queue: WorkQueue, profile_changed: Callable[[], None]) -> None:
        self._queue = queue
        self._profile_changed = profile_changed
        self._generations: dict[tuple[str, str], object] = {}

    def event(self, plural: str, kind: str | None, body: dict[str, Any]) -> None:
        """One watch event; `kind` is ADDED, MODIFIED, DELETED, or None for an object of a first list."""
        meta = body["metadata"]
        if plural == names.PROFILE_PLURAL:
            self._profile_changed()
            return
        name = meta["name"] if plural == names.MODEL_PLURAL else (meta.get("labels") or {}).get(names.LABEL_MODEL)
        if not name:
            return
        if plural in SPEC_ONLY and self._nothing_new(plural, kind, body):
            return
        for key in (Key(meta["namespace"], each) for each in sorted({name, *owners(meta)})):
            if kind is None:
                self._queue.add(key, Level.LATER)
            elif plural == "leases":
                self._queue.add(key, Level.WAKE)
            elif plural in BURSTS:
                self._queue.add_soon(key)
            else:
                self._queue.add(key)

    def _nothing_new(self, plural: str, kind: str | None, body: dict[str, Any]) -> bool:
        meta = body["metadata"]
        if len(self._generations) > REMEMBERED:
            self._generations.clear()  # deletions nobody told of; what is not remembered is only looked at once more
        id_ = (plural, meta["uid"])
        if kind == "DELETED":
            self._generations.pop(id_, None)
            return False
        fields = ("generation", "deletionTimestamp", "annotations", "labels")
        seen = (*(meta.get(name) for name in fields), replica_failure(body) if plural == "deployments" else None)
        old, self._generations[id_] = self._generations.get(id_), seen
        return kind == "MODIFIED" and old == seen


def owners(meta: dict[str, Any]) -> set[str]:
    """Models that a child belongs to, whatever its label says: several share a claim, and others write Leases too."""
    return {o["name"] for o in meta.get("ownerReferences") or () if o.get("kind") == names.MODEL_KIND}


Hear = Callable[[str, str | None, dict[str, Any]], object]
"""What is called with (plural, kind of event, object)."""


def registry(hear: Hear) -> kopf.OperatorRegistry:
    """An explicit registry, so that several operators fit into one process."""
    made = kopf.OperatorRegistry()
    in_cluster = "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ
    login = kopf.login_with_service_account if in_cluster else kopf.login_with_kubeconfig
    kopf.on.login(registry=made)(login)

    async def handle(event: Any, type: str | None, resource: Any, **_: Any) -> None:  # noqa: A002 - kopf's name
        hear(resource.plural, type, event["object"])

    for group, version, plural in (MODELS, PROFILES):
        kopf.on.event(group, version, plural, registry=made, id=plural)(handle)
    return made


class Forgetful(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf has no types for it
    """Nobody asks what changed in an object. kopf would copy each of them five times over to find out."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None


def operator_settings() -> kopf.OperatorSettings:
    """kopf's settings, each for a reason."""
    s = kopf.OperatorSettings()
    s.scanning.disabled = True  # no rights on CRDs and namespaces
    s.posting.enabled = False  # we post events ourselves
    s.peering.standalone = True
    s.networking.connect_timeout = 5
    s.networking.request_timeout = 30
    # 43 s of 403 and 5xx, then the process ends and is started anew; refused connections never end it
    s.networking.error_backoffs = [0.2, 0.5, 1, 1, 2, 2, 3, 3] + [5] * 6
    s.watching.server_timeout = 600  # whole seconds: 600.0 is a bad request
    s.watching.chunk_size = CHUNK
    s.persistence.diffbase_storage = Forgetful()
    return s


class Kopf:
    """kopf in a thread and an event loop of its own.

    It installs signal handlers and, at its end, cancels every task it finds; both must not happen to our loop.
    """

    def __init__(self, hear: Hear, settings: Settings) -> None:
        """`hear` is called in the loop that calls `run`."""
        self._hear = hear
        self._settings = settings
        self._ready = threading.Event()
        self._end: Callable[[], object] = lambda: None

    @property
    def ready(self) -> bool:
        """Every watch has begun."""
        return self._ready.is_set()

    def stop(self) -> None:
        """Ask it to end; `run` then returns."""
        self._end()

    async def run(self) -> None:
        """Watch until `stop`; raises what ended the watching before that."""
        ours = asyncio.get_running_loop()
        ended: asyncio.Future[None] = ours.create_future()

        def tell(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error else ended.set_result(None)

        def body() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(self._operator(lambda *event: ours.call_soon_threadsafe(self._hear, *event)))
            except Exception as caught:  # noqa: BLE001 - handed to the other thread, whatever it is
                error = caught
            with contextlib.suppress(RuntimeError):  # our loop has closed: nobody waits any more
                ours.call_soon_threadsafe(tell, error)

        threading.Thread(target=body, name="kopf", daemon=True).start()
        await ended

    async def _operator(self, hear: Hear) -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.is_closed() or loop.call_soon_threadsafe(stop.set)
        await kopf.operator(
            registry=registry(hear),
            settings=operator_settings(),
            clusterwide=not self._settings.namespaces,
            namespaces=self._settings.namespaces,
            stop_flag=stop,
            ready_flag=self._ready,
        )


async def resync(lister: Lister, queue: WorkQueue, namespaces: Iterable[str], known: Iterable[Key]) -> int:
    """Put every model into the queue, last in line; how many there are.

    `known` models are looked at even where the list has them no more: nobody may have told of their end.
    """
    keys = set(known)
    for namespace in tuple(namespaces) or (None,):
        async for item in lister.each(names.MODEL_KIND, namespace):
            keys.add(Key(item["metadata"]["namespace"], item["metadata"]["name"]))
    for key in sorted(keys):
        queue.add(key, Level.LATER)
    return len(keys)


async def called_first(lister: Lister, queue: WorkQueue, namespaces: Iterable[str], now: float) -> int:
    """Put models that somebody wants now before those that a first list brings; how many there are.

    While nobody watched they may have been called, and no event tells of that any more.
    """
    count = 0
    for namespace in tuple(namespaces) or (None,):
        for lease in await lister.list("Lease", namespace, names.SELECTOR):
            wish, meta = read_lease(lease), lease["metadata"]
            if wish is not None and wish.ends > now:
                count += 1
                for name in sorted(owners(meta)):
                    queue.add(Key(meta["namespace"], name))
    return count


async def await_kinds(served: Callable[[str], Awaitable[bool]], pause: float = 2.0) -> None:
    """Until the API server knows our kinds: kopf looks for them once only."""
    while True:
        try:
            missing = [kind for kind in (names.MODEL_KIND, names.PROFILE_KIND) if not await served(kind)]
            if not missing:
                return
            log.warning("waiting for %s: install the chart's CRDs (kubectl apply --server-side -f crds/)", missing)
        except (Retry, Terminal) as error:
            log.warning("waiting for the API server: %s", error)
        await asyncio.sleep(pause)


async def resync_forever(again: Callable[[], Awaitable[int]], wake: asyncio.Event, every: float) -> None:
    """Resync every `every` seconds, and soon after `wake` is set (a profile changed)."""
    while True:
        try:
            async with asyncio.timeout(every):
                await wake.wait()
        except TimeoutError:
            pass
        wake.clear()
        try:
            log.debug("resync of %d models", await again())
        except (Retry, Terminal) as error:
            log.warning("resync: %s", error)
            await asyncio.sleep(1)
            wake.set()
