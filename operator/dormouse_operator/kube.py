"""All that is asked of the API server, over `wire`. Dicts in, dicts out; server-side apply is the only way to write.

Models of the client library are not used: they refuse or drop fields they do not know. Every call has a deadline, is
tried again where that can help, and ends in `Retry` or `Terminal`. Writes are counted per kind and verb.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import aiohttp

from dormouse_api.names import API_VERSION, FIELD_MANAGER, MODEL_KIND, MODEL_PLURAL, PROFILE_KIND, PROFILE_PLURAL
from dormouse_operator.answers import problem_of
from dormouse_operator.applied import encoded
from dormouse_operator.errors import Retry, Silence, Terminal
from dormouse_operator.fence import READS, Fence
from dormouse_operator.wire import JSON, Wire

log = logging.getLogger(__name__)

Object = dict[str, Any]
OnWrite = Callable[[str, str], None]

APPLY = "application/apply-patch+yaml"
APPLY_AS_IT_IS = f"{APPLY}; charset=utf-8"
"""With a parameter the client library takes bytes as they are; the API server looks at what is before it."""
MERGE = "application/merge-patch+json"
PAGE = 500
UNFINISHED = {"Job": "status.successful=0", "Pod": "status.phase!=Succeeded"}
"""Field selectors: the API server leaves out what would only be read and passed over."""
PAUSES = (0.1, 0.3, 1.0)
"""Seconds between tries of one call. A restarting API server answers 403 for a moment: its role cache is cold."""
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
SHORT_PAGE = 250
WATCH_SECONDS = 600
AT_ONCE = 16
"""Calls in flight at most: more only queue up in the API server."""


@dataclass(frozen=True)
class Resource:
    """Where objects of a kind live."""

    prefix: str
    plural: str
    api_version: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None, sub: str | None = None) -> str:
        """The URL path of a collection or an object; no namespace means all of them."""
        parts = [self.prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        return "/".join(parts + [part for part in (self.plural, name, sub) if part])


def _group(api_version: str, plural: str, namespaced: bool = True) -> Resource:
    return Resource(f"/apis/{api_version}" if "/" in api_version else "/api/v1", plural, api_version, namespaced)


RESOURCES = {
    MODEL_KIND: _group(API_VERSION, MODEL_PLURAL),
    PROFILE_KIND: _group(API_VERSION, PROFILE_PLURAL, namespaced=False),
    "Deployment": _group("apps/v1", "deployments"),
    "Job": _group("batch/v1", "jobs"),
    "Lease": _group("coordination.k8s.io/v1", "leases"),
    "Service": _group("v1", "services"),
    "StorageClass": _group("storage.k8s.io/v1", "storageclasses", namespaced=False),
    "PersistentVolumeClaim": _group("v1", "persistentvolumeclaims"),
    "Pod": _group("v1", "pods"),
    "Event": _group("events.k8s.io/v1", "events"),
}


class Kube:
    """One client per process; `async with` opens and closes it."""

    def __init__(
        self, on_write: OnWrite = lambda kind, verb: None, fence: Fence | None = None, wire: Wire | None = None
    ) -> None:
        """`fence`: asked before each write, at each try; None: writing is always allowed."""
        self._on_write = on_write
        self._fence = fence
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._wire = wire or Wire(fence)

    async def __aenter__(self) -> "Kube":
        await self._wire.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._wire.close()

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None."""
        return await self._call("GET", kind, RESOURCES[kind].path(namespace, name))

    async def served(self, kind: str, namespace: str | None) -> bool:
        """Whether the API server knows `kind` (its CRD is installed), asked in a namespace we may read."""
        return await self._call("GET", kind, RESOURCES[kind].path(namespace), query={"limit": "1"}) is not None

    async def notices(self, namespace: str, uid: str) -> list[Object]:
        """The Events of one object; none where they may not be read, for they only tell more of what is known."""
        query = {"limit": str(PAGE), "fieldSelector": f"regarding.uid={uid}"}
        try:
            page = await self._call("GET", "Event", RESOURCES["Event"].path(namespace), query=query)
        except (Retry, Terminal) as error:
            log.info("events of %s in %s cannot be read: %s", uid, namespace, error)
            return []
        return list((page or {}).get("items") or ())

    async def unfinished(self, kind: str, namespace: str | None, selector: str) -> list[Object]:
        """Jobs or pods that have not succeeded, of those that match `selector`."""
        return await self._pages(kind, namespace, {"labelSelector": selector, "fieldSelector": UNFINISHED[kind]})

    async def _pages(self, kind: str, namespace: str | None, which: dict[str, str]) -> list[Object]:
        found: list[Object] = []
        query = {"limit": str(PAGE)} | which
        while True:
            page = await self._call("GET", kind, RESOURCES[kind].path(namespace), query=query) or {}
            found += page.get("items") or ()
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """Every object of `kind` that matches `selector`, read in pages."""
        return await self._pages(kind, namespace, {"labelSelector": selector} if selector else {})

    async def each(self, kind: str, namespace: str | None = None, selector: str = "") -> AsyncIterator[Object]:
        """The metadata of every object of `kind` that matches `selector`; never more than a page of them is held."""
        query = {"limit": str(SHORT_PAGE)} | ({"labelSelector": selector} if selector else {})
        more = True
        while more:
            path = RESOURCES[kind].path(namespace)
            page = await self._call("GET", kind, path, accept=METADATA_LIST, query=query) or {}
            for item in page.get("items") or ():  # null where there is none
                yield item
            query["continue"] = more = page.get("metadata", {}).get("continue")

    async def watch(
        self, kind: str, namespace: str | None, selector: str, since: str, *, whole: bool
    ) -> AsyncIterator[Object]:
        """What happens to objects of `kind` after `since`, bookmarks too, until the API server ends it. Unless `whole`
        an object is its metadata. Raises Gone, Silence, or what else a refusal means.
        """
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        query |= {"labelSelector": selector, "resourceVersion": since}
        path = f"{RESOURCES[kind].path(namespace)}?{urlencode(query)}"
        async with self._wire.stream(path, JSON if whole else METADATA) as (status, lines):
            async for event in lines:
                if status != HTTPStatus.OK:
                    raise _refused(kind, status, event)
                if event.get("type") == "ERROR":
                    raise _refused(kind, int(event["object"].get("code", 500)), event["object"])
                yield event

    async def position(self, kind: str, namespace: str | None, selector: str) -> str:
        """Where a watch may begin that is to miss nothing of what is written from now on."""
        query = {"labelSelector": selector, "limit": "1"}
        page = await self._call("GET", kind, RESOURCES[kind].path(namespace), accept=METADATA_LIST, query=query)
        if page is None:
            raise Retry(f"{kind}: the API server knows no such kind")
        return str(page["metadata"]["resourceVersion"])

    async def apply(self, body: Object, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply of the whole intent, with force; the object as it is now."""
        return await self._write_apply(body, None, manager)

    async def apply_status(self, body: Object) -> bool:
        """Server-side apply of `status`; False when the object is gone."""
        try:
            await self._write_apply(body, "status", FIELD_MANAGER)
        except LookupError:
            return False
        return True

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete exactly the object with `uid`, its pods in the background; nothing when it is gone already."""
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        self._on_write(kind, "delete")
        await self._call("DELETE", kind, RESOURCES[kind].path(namespace, name), body=options)

    async def create_event(self, body: Object) -> None:
        """Post one events.k8s.io/v1 Event."""
        self._on_write("Event", "create")
        await self._call("POST", "Event", RESOURCES["Event"].path(body["metadata"]["namespace"]), body=body)

    async def merge_event(self, namespace: str, name: str, body: Object) -> bool:
        """Change a posted Event; False when the API server has dropped it."""
        self._on_write("Event", "patch")
        path = RESOURCES["Event"].path(namespace, name)
        return await self._call("PATCH", "Event", path, body=body, content_type=MERGE) is not None

    async def _write_apply(self, body: Object, sub: str | None, manager: str) -> Object:
        kind, meta = body["kind"], body["metadata"]
        path = RESOURCES[kind].path(meta.get("namespace"), meta["name"], sub)
        query = {"fieldManager": manager, "force": "true"}
        self._on_write(kind, "status" if sub else "apply")
        found = await self._call("PATCH", kind, path, body=body, content_type=APPLY_AS_IT_IS, query=query)
        if found is None:
            raise LookupError(f"{kind} {meta['name']} or its namespace is gone")
        return found

    async def _call(
        self,
        method: str,
        kind: str,
        path: str,
        *,
        body: Object | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        query: dict[str, str] | None = None,
    ) -> Object | None:
        """The decoded answer, or None for 404. Every call here may be repeated: applies are idempotent."""
        headers = {"Content-Type": content_type, "Accept": accept}
        url = f"{path}?{urlencode(query)}" if query else path
        for pause in (*PAUSES, None):
            if self._fence is not None and method not in READS:
                self._fence.check()
            try:
                async with self._gate:
                    status, answer = await self._wire.ask(method, url, _sent(body, content_type), headers)
                problem = problem_of(kind, status, answer)
            except Silence as error:
                problem = error
            if problem is None:
                return None if status == 404 else answer
            if not isinstance(problem, Retry) or pause is None or problem.after is not None:
                raise problem
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    async def once(self, method: str, path: str, body: Object | None, seconds: float) -> tuple[int, Object]:
        """One try past every queue: status and answer, or Retry when there is none within `seconds`."""
        return await self._wire.ask(method, path, body, timeout=aiohttp.ClientTimeout(total=seconds))


def _refused(kind: str, status: int, answer: Object) -> Exception:
    return problem_of(kind, status, answer) or Retry(f"{kind}: a watch was answered with {status}")


def _sent(body: Object | None, content_type: str) -> Object | bytes | None:
    return encoded(body) if body is not None and content_type.startswith(APPLY) else body
