"""The API server over kubernetes.aio: the only module of the router that knows the client library.

Raw requests and plain dicts: parsing every object into the library's own models costs more than all the rest.
Owns paths, time-outs and the translation of every failure into `ClusterError`.
"""

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio import client, config

from dormouse_api.lease import read_wish
from dormouse_api.names import API_VERSION, GROUP, LABEL_DERIVED, LABEL_MODEL, MODEL_KIND, ROUTE_KIND, VERSION
from dormouse_router.cluster import ClusterError, Event, Expired, LeaseState, Listing, Object, Resource, Review

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
FIELD_MANAGER = "dormouse-router"
WRITING = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 15.0
WATCH_SECONDS = 300
"""After this long the server ends a watch and it is begun anew, at the same place."""
SILENCE_SECONDS = 100.0
"""Bookmarks come about once a minute: a watch silent for longer is dead, whatever the connection says."""
MAX_EVENT = 8 * 1024 * 1024
PAGE = 500

_ROOTS = {
    Resource.MODELS: f"/apis/{GROUP}/{VERSION}",
    Resource.ROUTES: f"/apis/{GROUP}/{VERSION}",
    Resource.SLICES: "/apis/discovery.k8s.io/v1",
}
_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
_SELECTORS = {Resource.SLICES: {"labelSelector": LABEL_MODEL}}


class Kube:
    """`cluster.Cluster` for real. Use as an async context manager."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._env = env
        self._client: Any = None

    async def __aenter__(self) -> Self:
        settings = type.__call__(client.Configuration)  # not the library's process-wide default
        if self._env.get("KUBECONFIG"):
            await config.load_kube_config(config_file=self._env["KUBECONFIG"], client_configuration=settings)
        else:
            config.load_incluster_config(client_configuration=settings)
        self._client = client.ApiClient(settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def list(self, resource: Resource, namespace: str | None) -> Listing:
        items: list[Object] = []
        more: dict[str, str] = {}
        while True:
            query = {"limit": str(PAGE), **_SELECTORS.get(resource, {}), **more}
            page = await self._json("GET", _collection(resource, namespace), query)
            items += page.get("items") or []
            token = page["metadata"].get("continue")
            if not token:
                return Listing(items, page["metadata"]["resourceVersion"])
            more = {"continue": token}

    async def watch(self, resource: Resource, namespace: str | None, version: str) -> AsyncGenerator[Event, None]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "resourceVersion": version,
            **_SELECTORS.get(resource, {}),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        response = await self._send("GET", _collection(resource, namespace), query, timeout=timeout)
        try:
            if response.status != 200:
                raise _refused(response.status, await response.read())
            async for line in _lines(response.content):
                yield _event(json.loads(line))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(0, f"the watch broke off: {error or type(error).__name__}") from error
        finally:
            _give_up(response)

    async def get_lease(self, namespace: str, name: str) -> LeaseState:
        return _lease(await self._json("GET", _lease_path(namespace, name)))

    async def patch_lease(self, namespace: str, name: str, spec: Object, version: str) -> LeaseState:
        body = {"metadata": {"resourceVersion": version}, "spec": spec}
        query = {"fieldManager": FIELD_MANAGER}
        return _lease(await self._json("PATCH", _lease_path(namespace, name), query, body, MERGE))

    async def annotate_lease(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        body = {"metadata": {"annotations": dict(annotations)}}
        await self._json("PATCH", _lease_path(namespace, name), {"fieldManager": FIELD_MANAGER}, body, MERGE)

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        await self._create(Resource.MODELS, MODEL_KIND, meta, spec, _tried(dry_run))

    async def patch_model(self, namespace: str, name: str, uid: str, spec: Object, *, dry_run: bool = False) -> None:
        body = {"metadata": {"uid": uid}, "spec": spec}
        path = f"{_collection(Resource.MODELS, namespace)}/{name}"
        await self._json("PATCH", path, WRITING | _tried(dry_run), body, MERGE)

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        await self._delete(Resource.MODELS, namespace, name, uid)

    async def create_route(self, namespace: str, name: str, spec: Object) -> None:
        meta = {"name": name, "namespace": namespace, "labels": {LABEL_DERIVED: "true"}}
        await self._create(Resource.ROUTES, ROUTE_KIND, meta, spec)

    async def replace_route(self, namespace: str, name: str, spec: Object, version: str) -> None:
        patch: Sequence[Object] = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},  # 409 where it is another
            {"op": "replace", "path": "/spec", "value": spec},
        ]
        await self._json("PATCH", f"{_collection(Resource.ROUTES, namespace)}/{name}", WRITING, patch, JSON_PATCH)

    async def delete_route(self, namespace: str, name: str, uid: str) -> None:
        await self._delete(Resource.ROUTES, namespace, name, uid)

    async def review(self, token: str, audience: str) -> Review:
        """Whose token it is, if it was made for `audience`."""
        spec = {"token": token, "audiences": [audience]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        said = await self._json("POST", _REVIEWS, None, body, "application/json")
        status = said.get("status", {})
        username = str(status.get("user", {}).get("username", ""))
        return Review(bool(status.get("authenticated")), username, tuple(status.get("audiences", ())))

    async def _create(
        self, resource: Resource, kind: str, meta: Object, spec: Object, more: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
        await self._json(
            "POST", _collection(resource, meta["namespace"]), {**WRITING, **more}, body, "application/json"
        )

    async def _delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        await self._json("DELETE", f"{_collection(resource, namespace)}/{name}", None, body, "application/json")

    async def _json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str | None = None,
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        try:
            response = await self._send(method, path, query, body, content_type, timeout)
            content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(0, f"the API server does not answer: {error or type(error).__name__}") from error
        if response.status >= 300:
            raise _refused(response.status, content)
        decoded: Object = json.loads(content)
        return decoded

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | Sequence[Object] | None = None,
        content_type: str | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if content_type else {})
        target = path + (f"?{urlencode(query)}" if query else "")
        request = self._client.param_serialize(
            method, target, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            answer = await self._client.call_api(*await request, _request_timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ClusterError(0, f"the API server does not answer: {error or type(error).__name__}") from error
        response: aiohttp.ClientResponse = answer.response
        return response


def _tried(dry_run: bool) -> dict[str, str]:
    """More of the query of a write that is only to be tried."""
    return {"dryRun": "All"} if dry_run else {}


def _collection(resource: Resource, namespace: str | None) -> str:
    inside = f"/namespaces/{namespace}" if namespace else ""
    return f"{_ROOTS[resource]}{inside}/{resource.value}"


def _lease_path(namespace: str, name: str) -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{name}"


def _lease(obj: Object) -> LeaseState:
    return LeaseState(obj["metadata"]["resourceVersion"], read_wish(obj.get("spec")))


def _event(raw: Object) -> Event:
    if raw["type"] != "ERROR":
        return Event(raw["type"], raw["object"])
    status = raw["object"]
    raise _error(int(status.get("code") or 500), status)


def _refused(status: int, content: bytes) -> ClusterError:
    try:
        body = json.loads(content)
    except ValueError:
        body = {"message": content[:500].decode(errors="replace")}
    return _error(status, body if isinstance(body, dict) else {})


def _error(status: int, body: Object) -> ClusterError:
    message = str(body.get("message") or f"the API server answered {status}")
    return (
        Expired(message)
        if status == 410
        else ClusterError(status, message, str(body.get("reason") or ""), _causes(body))
    )


def _causes(body: Object) -> tuple[tuple[str, str], ...]:
    """Each field that is invalid, and why."""
    details = body.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return tuple((str(cause["field"]), str(cause.get("message") or "")) for cause in causes or () if cause.get("field"))


def _give_up(response: aiohttp.ClientResponse) -> None:
    """Leave an answer that goes on. An orderly end of TLS would wait for the API server, longer than our loop lives."""
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()
    response.close()


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length up to MAX_EVENT: the reader's own line limit is below one large object."""
    parts: list[bytes] = []
    size = 0
    async for piece in content.iter_any():
        *whole, rest = piece.split(b"\n")
        for line in whole:
            yield b"".join([*parts, line])
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > MAX_EVENT:
            raise ClusterError(0, f"an event of more than {MAX_EVENT} bytes")
