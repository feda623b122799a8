"""Two routers behind one Service: one wake for the callers of both, and no call lost to an update or a death beside it.

The installation has one; these stories add a second and take it away again.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import httpx
import openai
import pytest_asyncio

from tests.e2e.cluster import Cluster, Object
from tests.e2e.disasters import SYSTEM, back
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.shell import kubectl
from tests.e2e.story import ROUTER, Story, chat, component, streamed

DEPLOYMENT = "dormouse-router"
SLOW_START = {"stages": [["loading", 4]]}
PAUSE = 0.02
"""Between the calls of one client: a load that a developer's machine carries beside everything else."""
STREAMS, TOKENS = 16, 300
"""Of 50 ms each: a killed router has two seconds more, and its node looks when it has the time."""
UPDATE_SECONDS = 120


@pytest_asyncio.fixture(loop_scope="session")
async def two_routers(cluster: Cluster) -> AsyncIterator[None]:
    await _scale(cluster, 2)
    try:
        yield
    finally:
        await _scale(cluster, 1)


async def _scale(cluster: Cluster, replicas: int) -> None:
    """Return when as many routers are ready and no other is left."""
    await cluster.patch("deployments", SYSTEM, DEPLOYMENT, {"spec": {"replicas": replicas}})
    await back(cluster, DEPLOYMENT)

    def holds(items: list[Object]) -> bool:
        return len(_routers(items)) == replicas

    await cluster.until("pods", SYSTEM, holds, f"{replicas} routers", UPDATE_SECONDS)


def _routers(items: list[Object]) -> set[str]:
    """Names of the routers' pods, those that are on their way out included."""
    return {item["metadata"]["name"] for item in items if item["metadata"]["name"].startswith(f"{DEPLOYMENT}-")}


@dataclass
class Load:
    """Clients of the Service, and what became of each of their calls."""

    name: str
    served: int = 0
    failures: list[str] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def more(self, calls: int, seconds: float = 60) -> None:
        """Until so many more calls have ended well."""
        wanted = self.served + calls
        async with asyncio.timeout(seconds):
            while self.served < wanted:
                self._news.clear()
                await self._news.wait()

    async def run(self, call: Callable[[], Awaitable[bool]]) -> None:
        """Call without end."""
        while True:
            try:
                if await call():
                    self.served += 1
                    self._news.set()
                else:
                    self.failures.append("another answer")
            except (httpx.HTTPError, openai.APIError) as error:
                self.failures.append(repr(error))
            await asyncio.sleep(PAUSE)

    async def ask(self, http: httpx.AsyncClient) -> bool:
        body = {"model": self.name, "messages": [{"role": "user", "content": FRANCE}], "temperature": 0}
        answer = await http.post(f"{ROUTER}/v1/chat/completions", json=body)
        answer.raise_for_status()
        return bool(answer.json()["choices"][0]["message"]["content"] == PARIS)

    async def ask_anew(self) -> bool:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            return await self.ask(http)

    async def stream(self) -> bool:
        return len(await streamed(self.name, "!slow 20 tokens 50ms")) == 20


@contextlib.asynccontextmanager
async def under_load(name: str) -> AsyncIterator[Load]:
    """Clients that keep their connection, clients that open a new one for each call, and clients that stream."""
    load = Load(name)
    async with contextlib.AsyncExitStack() as stack:
        kept = [await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=30)) for _ in range(3)]
        calls: list[Callable[[], Awaitable[bool]]] = [lambda http=http: load.ask(http) for http in kept]  # type: ignore[misc]
        calls += [load.ask_anew] * 3 + [load.stream] * 3
        clients = [asyncio.create_task(load.run(call)) for call in calls]
        try:
            yield load
        finally:
            for client in clients:
                client.cancel()
            await asyncio.gather(*clients, return_exceptions=True)


async def test_rolling_update_under_load_loses_no_call(story: Story, two_routers: None) -> None:
    name = await story.scripted("steady", scaling={"idleSeconds": 300})
    waking = await story.scripted("waking", SLOW_START)
    await story.ready(name, "ScaledToZero")
    await story.ready(waking, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    before = _routers(await story.cluster.find("pods", SYSTEM))
    assert len(before) == 2
    async with under_load(name) as load:
        await load.more(50)
        held = [asyncio.create_task(chat(waking, FRANCE)) for _ in range(4)]
        await story.pod(waking, "runtime", running=False)
        await asyncio.to_thread(kubectl, "rollout", "restart", f"deployment/{DEPLOYMENT}", "-n", SYSTEM)

        def replaced(items: list[Object]) -> bool:
            return not before & _routers(items)

        await story.cluster.until("pods", SYSTEM, replaced, "the old routers' end", UPDATE_SECONDS)
        await back(story.cluster, DEPLOYMENT)
        await load.more(50)
        assert await asyncio.gather(*held) == [PARIS] * 4
    assert load.failures == []


async def test_callers_of_both_share_one_wake(story: Story, two_routers: None) -> None:
    name = await story.scripted("shared", SLOW_START)
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen:
        answers = await asyncio.gather(*(chat(name, FRANCE) for _ in range(20)))
        assert answers == [PARIS] * 20
        assert len(component(seen["pods"], name, "runtime")) == 1


async def test_router_killed_beside_another_takes_only_its_own_streams(story: Story, two_routers: None) -> None:
    name = await story.scripted("torn", scaling={"idleSeconds": 300})
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    begun = [asyncio.Event() for _ in range(STREAMS)]
    streams = [asyncio.create_task(streamed(name, f"!slow {TOKENS} tokens 50ms", begun=each)) for each in begun]
    async with asyncio.timeout(60):  # each is at one of the two then, and far from its end
        await asyncio.gather(*(each.wait() for each in begun))
    victim = min(_routers(await story.cluster.find("pods", SYSTEM)))
    await story.cluster.delete("pods", SYSTEM, victim, grace=0)
    ends = await asyncio.gather(*streams, return_exceptions=True)
    whole = [end for end in ends if not isinstance(end, BaseException)]
    lost = [end for end in ends if isinstance(end, BaseException)]
    assert 0 < len(lost) < STREAMS
    assert all(isinstance(end, openai.APIError | httpx.HTTPError) for end in lost)
    assert [len(end) for end in whole] == [TOKENS] * len(whole)
    await back(story.cluster, DEPLOYMENT)
    assert len(await story.runtime_pods(name)) == 1
