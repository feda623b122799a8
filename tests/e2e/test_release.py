"""The release on the real cluster: upgraded under streams, closed to strangers, uninstalled, and installed again.

One upgrade gives it keys and tokens of pods, in the place of `open`; the stories after it call with those, and the last
one takes the release away and installs it as it was.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import openai
import pytest_asyncio

from dev import ollama
from dormouse_api.names import weights_name
from tests.e2e import release
from tests.e2e.callers import TOKEN, shell
from tests.e2e.cluster import Cluster, Object
from tests.e2e.disasters import SYSTEM
from tests.e2e.samples import FRANCE, MIB, PARIS, model
from tests.e2e.shell import kubectl
from tests.e2e.story import ROUTER, Hub, Story, begun, chat
from tests.e2e.test_clients import SERVICE
from tests.e2e.test_ollama_cli import STYLE

SECRET, AUDIENCE = "e2e-keys", "dormouse"
CLOSED = ("--set", f"router.access.modes={{keys,serviceaccounts}},router.access.keySecrets={{{SECRET}}}")
TOKENS = 60
SECONDS = 120.0
OURS = "deployments,services,serviceaccounts,networkpolicies,clusterroles,clusterrolebindings,runtimeprofiles"


@dataclass
class Closed:
    """The release that asks for keys; `streams` is what became of those that its upgrade found under way."""

    story: Story
    before: release.Release
    name: str
    key: str
    streams: list[int] = field(default_factory=list)

    async def call(self, key: str) -> httpx.Response:
        body = {"model": self.name, "messages": [{"role": "user", "content": FRANCE}]}
        async with httpx.AsyncClient(timeout=SECONDS, trust_env=False) as http:
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return await http.post(f"{ROUTER}/v1/chat/completions", json=body, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def closed(cluster: Cluster, hub: Hub) -> AsyncIterator[Closed]:
    """The upgrade. Whatever happens then, the release is at last what it was."""
    before, key = release.installed(), f"dm-{secrets.token_hex(24)}"
    async with begun(cluster, hub, "release") as story:
        name = await story.scripted("steady", scaling={"idleSeconds": 600})
        await story.ready(name, "ScaledToZero")
        assert await chat(name, FRANCE) == PARIS
        kubectl("-n", SYSTEM, "create", "secret", "generic", SECRET, f"--from-literal=ci={key}")
        try:
            made = Closed(story, before, name, key)
            await _upgrade_under_streams(made)
            yield made
        finally:
            await asyncio.to_thread(before.restore)
            kubectl("-n", SYSTEM, "delete", "secret", SECRET)


async def _upgrade_under_streams(made: Closed) -> None:
    """A new stream twice a second until the old router was told to go: some of them are surely its own."""
    cluster = made.story.cluster
    old = {pod["metadata"]["uid"] for pod in _routers(await cluster.find("pods", SYSTEM))}
    upgrade = asyncio.create_task(asyncio.to_thread(made.before.upgrade, *CLOSED))
    told = asyncio.create_task(cluster.until("pods", SYSTEM, _leaving(old), "the old router is told to go", SECONDS))
    streams = []
    while not told.done():
        streams.append(asyncio.create_task(_stream(made)))
        await asyncio.wait([told], timeout=0.5)
    await asyncio.gather(upgrade, told)
    made.streams = await asyncio.gather(*streams)
    await cluster.until("pods", SYSTEM, _gone(old), "the old router is gone", SECONDS)


async def _stream(made: Closed) -> int:
    """How many pieces came."""
    async with openai.AsyncOpenAI(base_url=f"{ROUTER}/v1", api_key=made.key, max_retries=0, timeout=SECONDS) as client:
        stream = await client.chat.completions.create(
            model=made.name, messages=[{"role": "user", "content": f"!slow {TOKENS} tokens 100ms"}], stream=True
        )
        return len([1 async for chunk in stream for choice in chunk.choices if choice.delta.content])


def _routers(items: list[Object]) -> list[Object]:
    return [item for item in items if item["metadata"]["name"].startswith("dormouse-router-")]


def _leaving(old: set[str]) -> Callable[[list[Object]], bool]:
    def holds(items: list[Object]) -> bool:
        mine = [item["metadata"] for item in _routers(items) if item["metadata"]["uid"] in old]
        return all("deletionTimestamp" in meta for meta in mine)

    return holds


def _gone(old: set[str]) -> Callable[[list[Object]], bool]:
    def holds(items: list[Object]) -> bool:
        return not [item for item in items if item["metadata"]["uid"] in old]

    return holds


async def test_streams_under_way_outlive_the_upgrade(closed: Closed) -> None:
    assert closed.streams
    assert closed.streams == [TOKENS] * len(closed.streams)
    assert (await closed.call("")).status_code == 401
    assert (await closed.call(closed.key)).json()["choices"][0]["message"]["content"] == PARIS


async def test_a_pod_calls_with_the_token_of_its_account(closed: Closed) -> None:
    body = json.dumps({"model": closed.name, "messages": [{"role": "user", "content": FRANCE}]})
    bearer = f'-H "Authorization: Bearer $(cat {TOKEN})"'
    script = (
        f"curl -sSf {bearer} {SERVICE}/v1/auth/me && "
        f"curl -sSf {bearer} {SERVICE}/v1/chat/completions -H 'content-type: application/json' -d '{body}'"
    )
    status, said = await shell(closed.story, "workload", script, AUDIENCE)
    assert status == 0, said
    assert f"serviceaccount:{closed.story.namespace}/default" in said
    assert PARIS in said
    script = f"curl -sS -o /dev/null -w '%{{http_code}}' {bearer} {SERVICE}/v1/models"
    assert await shell(closed.story, "stranger", script, "another-audience") == (0, "401")


async def test_a_changed_secret_counts_without_a_restart(closed: Closed) -> None:
    other = f"dm-{secrets.token_hex(24)}"
    [router] = _routers(await closed.story.cluster.find("pods", SYSTEM))
    assert (await closed.call(other)).status_code == 401
    patch = json.dumps({"stringData": {"ci": other}})
    kubectl("-n", SYSTEM, "patch", "secret", SECRET, "--type=merge", "-p", patch)
    # the kubelet looks at a pod that changed at once, and at others within a minute or so
    kubectl("-n", SYSTEM, "annotate", "pod", router["metadata"]["name"], "e2e/look=now")
    async with asyncio.timeout(SECONDS):
        for key, status in ((other, 200), (closed.key, 401)):
            while (await closed.call(key)).status_code != status:  # noqa: ASYNC110 - a router tells nobody of its keys
                await asyncio.sleep(0.5)
    [same] = _routers(await closed.story.cluster.find("pods", SYSTEM))
    assert same["metadata"]["uid"] == router["metadata"]["uid"]
    assert [each["restartCount"] for each in same["status"]["containerStatuses"]] == [
        each["restartCount"] for each in router["status"]["containerStatuses"]
    ]
    closed.key = other


async def test_ollamas_program_has_its_key_in_the_address(closed: Closed, tmp_path: Path) -> None:
    program = await asyncio.to_thread(ollama.cli)

    async def run(host: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            program,
            *("run", closed.name, FRANCE),
            env={"HOME": str(tmp_path), "OLLAMA_HOST": host, "TERM": "dumb"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(SECONDS):
            output, _ = await process.communicate()
        return process.returncode, STYLE.sub("", output.decode())

    status, said = await run(f"{ROUTER}/key/{closed.key}")
    assert (status, PARIS in said) == (0, True), said
    _, said = await run(ROUTER)  # it takes a refusal for its own cloud's, and exits with 0
    assert PARIS not in said
    assert "signed in" in said


async def test_what_models_have_outlives_the_release_and_is_its_again(closed: Closed) -> None:
    """Uninstalled while an engine serves: it goes on, models can be deleted, and the next install finds the rest."""
    story, cluster = closed.story, closed.story.cluster
    repo = await story.publish("kept", 2 * MIB)
    kept, doomed = story.name("kept"), await story.scripted("doomed")
    await story.apply(model(kept, repo, storage={"reclaimPolicy": "Retain"}))
    for name in (kept, doomed):
        await story.ready(name, "ScaledToZero")
    engine = (await story.pod(closed.name, "runtime"))["metadata"]["uid"]
    claim = await _claim(story, kept)
    already = len(await story.hub.sent(repo))
    release_pods = {pod["metadata"]["uid"] for pod in await cluster.find("pods", SYSTEM)}
    await asyncio.to_thread(closed.before.uninstall)
    await cluster.until("pods", SYSTEM, _gone(release_pods), "no pod of the release", SECONDS)
    assert kubectl("get", OURS, "-A", "-l", "app.kubernetes.io/instance=dormouse", "-o", "name") == ""
    for name in (kept, doomed):
        await cluster.delete("inferencemodels", story.namespace, name)
    await cluster.until("inferencemodels", story.namespace, _without(kept, doomed), "nothing holds them", SECONDS)
    await cluster.until(
        "persistentvolumeclaims", story.namespace, _without(weights_name(doomed)), "its volume goes with it", SECONDS
    )
    await asyncio.to_thread(closed.before.restore)
    assert await _serves(closed.name) == PARIS
    assert (await story.pod(closed.name, "runtime"))["metadata"]["uid"] == engine, "nobody touched it"
    await story.apply(model(kept, repo, storage={"reclaimPolicy": "Retain"}))
    await story.ready(kept, "ScaledToZero")
    assert await _claim(story, kept) == claim
    sent = (await story.hub.sent(repo))[already:]
    assert sum(entry["sent"] for entry in sent) < MIB, "more came than the inspection's look at the tensors"


async def _claim(story: Story, name: str) -> str:
    found = await story.cluster.get("persistentvolumeclaims", story.namespace, weights_name(name))
    assert found is not None
    return str(found["metadata"]["uid"])


def _without(*named: str) -> Callable[[list[Object]], bool]:
    return lambda items: not set(named) & {item["metadata"]["name"] for item in items}


async def _serves(name: str) -> str:
    """An answer, as soon as the new router knows the model and the forwarder the new Service."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await chat(name, FRANCE)
            except openai.APIError:
                await asyncio.sleep(0.5)
