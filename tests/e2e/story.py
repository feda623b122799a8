"""One story's own corner of the cluster: a namespace, models in it, calls to them, and what became of them.

Owns the words the stories are written in. What a story claims, it claims by these: `ready`, `failing`, `asleep`,
`serving`, `runtime_pods`, `chat`.
"""

import asyncio
import contextlib
import json
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import openai

from dev.hub.client import HubControl
from dormouse_api.conditions import ConditionType, is_failure
from dormouse_api.names import LABEL_COMPONENT, LABEL_MODEL, runtime_name
from tests.e2e.cluster import Cluster, Object, Seen, recording
from tests.e2e.samples import model, repository

ROUTER = "http://127.0.0.1:11434"


@dataclass(frozen=True)
class Condition:
    status: str
    reason: str
    message: str


def condition(item: Object, kind: ConditionType = ConditionType.READY) -> Condition:
    """A condition of an InferenceModel; Unknown where it has none yet."""
    for found in item.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return Condition(found["status"], found["reason"], found["message"])
    return Condition("Unknown", "", "")


def failed(item: Object) -> Condition | None:
    """The Ready condition, where it says that waiting will not help."""
    found = condition(item)
    return found if found.status == "False" and is_failure(found.reason) else None


class Hub:
    """The hub stand-in, shared by stories that go on at the same time: each rules its own faults only."""

    def __init__(self, control: HubControl) -> None:
        self._control = control
        self._faults: dict[str, tuple[Object, ...]] = {}

    async def publish(self, repo: str, files: dict[str, bytes], branch: str = "main", **meta: Any) -> str:
        """Make the files the branch's new commit; the commit."""
        return await asyncio.to_thread(self._control.publish, repo, files, branch, meta or None)

    async def faults(self, owner: str, *faults: Object) -> None:
        """Replace the owner's faults; none given: for the owner the hub behaves again."""
        self._faults[owner] = faults
        await asyncio.to_thread(self._control.faults, *(one for mine in self._faults.values() for one in mine))

    async def sent(self, repo: str) -> list[Object]:
        """The log's entries of weights of `repo` that went out, oldest first; `sent` is in bytes."""
        log = await asyncio.to_thread(self._control.log)
        return [entry for entry in log if entry["method"] == "GET" and f"_cdn/{repo}/" in entry["path"]]


class Story:
    """A namespace of its own, gone when the story ends."""

    def __init__(self, cluster: Cluster, hub: Hub, namespace: str, token: str) -> None:
        self.cluster = cluster
        self.hub = hub
        self.namespace = namespace
        self._token = token

    def name(self, base: str) -> str:
        """A model's name that no other story uses: served names are known in the whole cluster."""
        return f"{base}-{self._token}"

    async def publish(self, base: str, size: int = 64 * 1024, script: Object | None = None, **meta: Any) -> str:
        """A repository of this story's own on the hub; its id. `meta`: gated, private, tokens."""
        repo = f"e2e/{self.name(base)}"
        await self.hub.publish(repo, repository(size, script=script), **meta)
        return repo

    async def faults(self, *faults: Object) -> None:
        """Replace this story's faults at the hub."""
        await self.hub.faults(self.namespace, *faults)

    async def apply(self, body: Object) -> Object:
        return await self.cluster.create("inferencemodels", self.namespace, body)

    async def scripted(self, base: str, script: dict[str, Any] | None = None, **spec: Any) -> str:
        """Publish a small repository and apply a scripted model of it; its name. `script`: how its engine starts."""
        repo = await self.publish(base, script=script)
        await self.apply(model(self.name(base), repo, **spec))
        return self.name(base)

    async def seen(self, name: str, what: str, holds: Any, seconds: float = 90) -> Object:
        """The model at the first moment that `holds(model)` is true."""

        def mine(items: list[Object]) -> Object | None:
            return next((item for item in items if item["metadata"]["name"] == name and holds(item)), None)

        return await self.cluster.until("inferencemodels", self.namespace, mine, f"{name}: {what}", seconds)

    async def ready(self, name: str, reason: str | None = None, seconds: float = 120) -> Object:
        """The model once it is Ready (with `reason`, where one is asked for)."""

        def holds(item: Object) -> bool:
            found = condition(item)
            return found.status == "True" and reason in (None, found.reason)

        return await self.seen(name, f"Ready {reason or ''}", holds, seconds)

    async def failing(self, name: str, seconds: float = 120) -> Condition:
        """The Ready condition once it names a failure."""
        item = await self.seen(name, "a failure", failed, seconds)
        found = failed(item)
        assert found is not None
        return found

    async def asleep(self, name: str, seconds: float = 120) -> float:
        """Wait for zero runtime pods; the moment (monotonic seconds) that was seen."""

        def none(items: list[Object]) -> bool:
            return not [item for item in items if item["metadata"].get("labels", {}).get(LABEL_MODEL) == name]

        await self.cluster.until("pods", self.namespace, none, f"{name}: zero pods", seconds)
        return time.monotonic()

    async def runtime_pods(self, name: str) -> list[Object]:
        """The model's, but for those that are going: a busy kubelet takes its time with what has ended."""
        found = await self.cluster.find("pods", self.namespace, f"{LABEL_MODEL}={name},{LABEL_COMPONENT}=runtime")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    async def pod(self, name: str, component: str, seconds: float = 120, running: bool = True) -> Object:
        """The model's pod of a component, once its container runs."""

        def holds(items: list[Object]) -> Object | None:
            for item in items:
                labels = item["metadata"].get("labels", {})
                if (labels.get(LABEL_MODEL), labels.get(LABEL_COMPONENT)) != (name, component):
                    continue
                if "deletionTimestamp" in item["metadata"]:
                    continue
                if not running or item["status"].get("phase") == "Running":
                    return item
            return None

        return await self.cluster.until("pods", self.namespace, holds, f"{name}: a {component} pod", seconds)

    @contextlib.asynccontextmanager
    async def recorded(self, *resources: str) -> AsyncIterator[dict[str, Seen]]:
        """Note every object of `resources` that exists meanwhile."""
        async with contextlib.AsyncExitStack() as stack:
            yield {
                resource: await stack.enter_async_context(recording(self.cluster, resource, self.namespace))
                for resource in resources
            }

    @contextlib.asynccontextmanager
    async def pods_counted(self, counts: Callable[[Object], bool]) -> AsyncIterator[list[int]]:
        """Note at every change of a pod of the story how many of them count."""
        noted: list[int] = [0]

        async def note() -> None:
            async for items in self.cluster.snapshots("pods", self.namespace):
                noted.append(sum(map(counts, items)))  # noqa: PERF401 - to be read meanwhile

        task = asyncio.create_task(note())
        try:
            yield noted
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def replicas(self, name: str) -> int:
        found = await self.cluster.get("deployments", self.namespace, runtime_name(name))
        assert found is not None
        return int(found["spec"]["replicas"])


@contextlib.asynccontextmanager
async def begun(cluster: Cluster, hub: Hub, title: str) -> AsyncIterator[Story]:
    """A story in a new namespace named after its title; afterwards its faults and its namespace go."""
    token = secrets.token_hex(3)
    namespace = f"e2e-{re.sub(r'[^a-z0-9]+', '-', title.lower())[:40].strip('-')}-{token}"
    await cluster.create("namespaces", None, {"metadata": {"name": namespace}})
    # without its account a namespace refuses pods, and whoever made them tries again seconds later
    await cluster.until("serviceaccounts", namespace, bool, "the namespace's account")
    story = Story(cluster, hub, namespace, token)
    try:
        yield story
    finally:
        await story.faults()
        await cluster.delete("namespaces", None, namespace)


def component(seen: Seen, name: str, which: str) -> list[Object]:
    """The objects of a model and component among those seen."""
    return [item for item in seen.labelled(LABEL_MODEL, name) if item["metadata"]["labels"][LABEL_COMPONENT] == which]


def sdk(url: str = ROUTER, seconds: float = 180) -> openai.AsyncOpenAI:
    """OpenAI's own client, strict, without retries: the first answer counts."""
    timeout = httpx.Timeout(seconds)
    return openai.AsyncOpenAI(
        base_url=f"{url}/v1",
        api_key="none",
        max_retries=0,
        timeout=timeout.read,
        _strict_response_validation=True,
    )


async def chat(name: str, text: str, seconds: float = 180, **more: Any) -> str:
    """The answer of one whole chat completion."""
    async with sdk(seconds=seconds) as client:
        answer = await client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": text}], temperature=0, **more
        )
    return answer.choices[0].message.content or ""


async def streamed(
    name: str, text: str, seconds: float = 180, begun: asyncio.Event | None = None, **more: Any
) -> list[str]:
    """The pieces of one streamed chat completion; `begun` is set with the first."""
    pieces = []
    async with sdk(seconds=seconds) as client:
        stream = await client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": text}], temperature=0, stream=True, **more
        )
        async for chunk in stream:
            pieces += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if pieces and begun is not None:
                begun.set()
    return pieces


async def raw_chat(name: str, text: str, seconds: float = 180, **more: Any) -> httpx.Response:
    """One chat completion as plain HTTP, whatever its status."""
    body = {"model": name, "messages": [{"role": "user", "content": text}], **more}
    async with httpx.AsyncClient(timeout=seconds, trust_env=False) as http:
        return await http.post(f"{ROUTER}/v1/chat/completions", content=json.dumps(body))
