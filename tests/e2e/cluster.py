"""The API server as a story needs it: read, write, and wait for facts with a deadline. Knows nothing of models.

Waiting is watching: a list, then its changes, then a new list whenever the stream breaks, so that a story outlives a
restart of the API server as the product must.
"""

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import yaml

Object = dict[str, Any]
T = TypeVar("T")

GROUPS = {
    "pods": "api/v1",
    "services": "api/v1",
    "secrets": "api/v1",
    "serviceaccounts": "api/v1",
    "events": "api/v1",
    "namespaces": "api/v1",
    "persistentvolumeclaims": "api/v1",
    "resourcequotas": "api/v1",
    "jobs": "apis/batch/v1",
    "deployments": "apis/apps/v1",
    "leases": "apis/coordination.k8s.io/v1",
    "inferencemodels": "apis/dormouse.dev/v1alpha1",
    "inferenceroutes": "apis/dormouse.dev/v1alpha1",
    "runtimeprofiles": "apis/dormouse.dev/v1alpha1",
}
MANAGER = "e2e"
RETRY_SECONDS = 0.2
_BROKEN = (httpx.TransportError, httpx.RemoteProtocolError)


class ApiError(Exception):
    """The API server refused; `status` is HTTP's, the text its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


def path(resource: str, namespace: str | None = None, name: str | None = None) -> str:
    """`/apis/…` of a resource: all of it, a namespace's, or one object's."""
    parts = ["", GROUPS[resource]]
    parts += ["namespaces", namespace] if namespace else []
    return "/".join([*parts, resource, *([name] if name else [])])


class Cluster:
    """One connection pool to the API server of a kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        server, context = _credentials(kubeconfig)
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(base_url=server, verify=context, timeout=20, limits=limits, trust_env=False)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, resource: str, namespace: str | None, name: str) -> Object | None:
        """The object, or None where there is none."""
        try:
            return await self._ask("GET", path(resource, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def find(self, resource: str, namespace: str | None, selector: str = "") -> list[Object]:
        query = {"labelSelector": selector} if selector else {}
        found = await self._ask("GET", path(resource, namespace), params=query)
        return list(found["items"])

    async def create(self, resource: str, namespace: str | None, body: Object) -> Object:
        return await self._ask("POST", path(resource, namespace), json=body)

    async def patch(self, resource: str, namespace: str | None, name: str, body: Object) -> Object:
        """A merge patch."""
        headers = {"content-type": "application/merge-patch+json"}
        content = json.dumps(body)
        return await self._ask("PATCH", path(resource, namespace, name), content=content, headers=headers)

    async def delete(self, resource: str, namespace: str | None, name: str, grace: int | None = None) -> None:
        """Delete; `grace` 0 kills a pod at once. Nothing there is as good as deleted."""
        options: Object = {"propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            await self._ask("DELETE", path(resource, namespace, name), json=options)
        except ApiError as error:
            if error.status != 404:
                raise

    async def log(self, namespace: str, pod: str, *, timestamps: bool = False) -> str:
        """What the pod's container printed; each line with the moment the node took it, where that is asked for."""
        query = {"timestamps": "true"} if timestamps else {}
        return (await self._http.get(f"{path('pods', namespace, pod)}/log", params=query)).text

    async def until(
        self,
        resource: str,
        namespace: str | None,
        holds: Callable[[list[Object]], T | None],
        what: str,
        seconds: float = 90,
    ) -> T:
        """The first true value of `holds(objects)`, seen at the moment the API server tells of it.

        AssertionError with `what` and the last objects seen when that does not come within `seconds`.
        """
        last: list[Object] = []
        try:
            async with asyncio.timeout(seconds), contextlib.aclosing(self.snapshots(resource, namespace)) as snapshots:
                async for last in snapshots:
                    if found := holds(last):
                        return found
        except TimeoutError:
            raise AssertionError(f"{what}: not within {seconds} s; last seen:\n{_digest(last)}") from None
        raise AssertionError("unreachable: a watch never ends")

    async def snapshots(self, resource: str, namespace: str | None) -> AsyncGenerator[list[Object], None]:
        """The objects now, and again after each change, for ever."""
        while True:
            try:
                async for items in self._once(resource, namespace):
                    yield items
            except (*_BROKEN, ApiError):
                await asyncio.sleep(RETRY_SECONDS)  # the API server is away; the caller's deadline bounds this

    async def _once(self, resource: str, namespace: str | None) -> AsyncIterator[list[Object]]:
        """A list and its changes, until the stream ends."""
        found = await self._ask("GET", path(resource, namespace))
        objects = {item["metadata"]["uid"]: item for item in found["items"]}
        yield list(objects.values())
        query = {"watch": "1", "resourceVersion": found["metadata"]["resourceVersion"], "timeoutSeconds": "300"}
        timeout = httpx.Timeout(20, read=320)
        async with self._http.stream("GET", path(resource, namespace), params=query, timeout=timeout) as stream:
            async for line in stream.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                uid = event["object"]["metadata"]["uid"]
                if event["type"] == "DELETED":
                    objects.pop(uid, None)
                else:
                    objects[uid] = event["object"]
                yield list(objects.values())

    async def _ask(self, method: str, where: str, **more: Any) -> Object:
        response = await self._http.request(method, where, **more)
        body: Object = response.json()
        if response.status_code >= 400:
            raise ApiError(response.status_code, body.get("message", response.text))
        return body


class Seen:
    """Every object of a resource that existed while a story ran, by uid: what was created, and how often."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}

    def labelled(self, label: str, value: str) -> list[Object]:
        return [item for item in self.objects.values() if item["metadata"].get("labels", {}).get(label) == value]


@contextlib.asynccontextmanager
async def recording(cluster: Cluster, resource: str, namespace: str) -> AsyncIterator[Seen]:
    """Note everything that appears meanwhile; ready to be asked as soon as the body runs."""
    seen = Seen()
    ready = asyncio.Event()

    async def note() -> None:
        async for items in cluster.snapshots(resource, namespace):
            seen.objects |= {item["metadata"]["uid"]: item for item in items}
            ready.set()

    task = asyncio.create_task(note())
    try:
        await asyncio.wait_for(ready.wait(), 60)
        yield seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _credentials(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """The server's URL and a TLS context with the client certificate of the current context."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
    cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
    user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    tls = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as pem:  # ssl takes certificates from files only
        pem.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        pem.flush()
        tls.load_cert_chain(pem.name)
    return cluster["server"], tls


def _digest(items: list[Object]) -> str:
    """Names and statuses, short enough to read in a failed test."""
    rows = [f"{item['metadata']['name']}: {json.dumps(item.get('status', item.get('spec')))}" for item in items]
    return "\n".join(row[:1500] for row in rows[:12]) or "nothing"
