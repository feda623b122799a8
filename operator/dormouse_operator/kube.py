"""The only module that talks to the API server. Dicts in, dicts out; server-side apply is the only way to write.

Models of the client library are not used: they refuse or drop fields they do not know. Every call has a deadline, is
tried again where that can help, and ends in `Retry` or `Terminal`. Writes are counted per kind and verb.
"""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from dormouse_api.names import API_VERSION, FIELD_MANAGER, MODEL_KIND, MODEL_PLURAL, PROFILE_KIND, PROFILE_PLURAL
from dormouse_operator.errors import Retry, Terminal

log = logging.getLogger(__name__)

Object = dict[str, Any]
OnWrite = Callable[[str, str], None]

APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
PAGE = 500
TIMEOUT = aiohttp.ClientTimeout(total=20, sock_connect=5)
PAUSES = (0.1, 0.3, 1.0)
"""Seconds between tries of one call. A restarting API server answers 403 for a moment: its role cache is cold."""
TERMINATING_SECONDS = 5.0
"""Seconds after which a namespace that goes away is looked at again."""
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
    "PersistentVolumeClaim": _group("v1", "persistentvolumeclaims"),
    "Pod": _group("v1", "pods"),
    "Event": _group("events.k8s.io/v1", "events"),
}


class Kube:
    """One client per process; `async with` opens and closes it."""

    def __init__(self, on_write: OnWrite = lambda kind, verb: None) -> None:
        self._on_write = on_write
        self._gate = asyncio.Semaphore(AT_ONCE)
        self._api: Any = None

    async def __aenter__(self) -> "Kube":
        # the library keeps configurations in a process-wide default unless one is made this way
        configuration = type.__call__(client.Configuration)
        if "KUBECONFIG" not in os.environ and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)
        else:
            await config.load_kube_config(client_configuration=configuration)
        self._api = client.ApiClient(configuration)
        self._api.user_agent = "dormouse-operator"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None."""
        return await self._call("GET", kind, RESOURCES[kind].path(namespace, name))

    async def served(self, kind: str, namespace: str | None) -> bool:
        """Whether the API server knows `kind` (its CRD is installed), asked in a namespace we may read."""
        return await self._call("GET", kind, RESOURCES[kind].path(namespace), query={"limit": "1"}) is not None

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """Every object of `kind` that matches `selector`, read in pages."""
        found: list[Object] = []
        query = {"limit": str(PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self._call("GET", kind, RESOURCES[kind].path(namespace), query=query) or {}
            found += page.get("items", [])
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query["continue"] = more

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
        found = await self._call("PATCH", kind, path, body=body, content_type=APPLY, query=query)
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
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Object | None:
        """The decoded answer, or None for 404. Every call here may be repeated: applies are idempotent."""
        url = f"{path}?{urlencode(query)}" if query else path
        for pause in (*PAUSES, None):
            try:
                async with self._gate:
                    status, answer = await self._once(method, url, body, content_type)
                problem = _problem(kind, status, answer)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                problem = Retry(f"no answer from the API server: {type(error).__name__} {error}".strip())
            if problem is None:
                return None if status == 404 else answer
            if not isinstance(problem, Retry) or pause is None or problem.after is not None:
                raise problem
            await asyncio.sleep(pause)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _once(self, method: str, url: str, body: Object | None, content_type: str) -> tuple[int, Object]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        request = await self._api.param_serialize(
            method, url, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = await self._api.call_api(*request, _request_timeout=TIMEOUT)
        raw = await response.read()
        try:
            return response.status, json.loads(raw)
        except ValueError:
            return response.status, {"message": raw[:300].decode(errors="replace")}


def _problem(kind: str, status: int, answer: Object) -> Exception | None:
    """What a non-success answer means; None for success and for 404."""
    if status < 300 or status == 404:
        return None
    message = f"{kind}: {answer.get('message') or status}"
    if status == 409 and answer.get("reason") == "AlreadyExists":
        return None
    # a field the schema does not have comes back from an apply as 500 without a reason: repeating it never helps
    if status == 500 and "typed patch" in message:
        return Terminal(message, kind, status)
    if status == 403:
        return _forbidden(kind, message)
    if status in (401, 409, 429) or status >= 500:
        after = answer.get("details", {}).get("retryAfterSeconds") if status in (429, 503) else None
        return Retry(f"{status} {message}", float(after) if after else None)
    return Terminal(message, kind, status)


def _forbidden(kind: str, message: str) -> Exception:
    """403 has three causes: missing rights (just after a start of the API server: not read yet), a namespace that goes
    away, and an admission rule such as a quota, which says no to this very object.
    """
    if "being terminated" in message:
        return Retry(f"403 {message}", TERMINATING_SECONDS)
    if "cannot" in message and "resource" in message:
        return Retry(f"403 {message}")
    return Terminal(message, kind, 403)
