"""Story: a model that brings its own Python is refused until an administrator allows it, then runs one commit of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dev.models import owncode, store
from dormouse_api.conditions import ConditionType
from tests.e2e.engines import WAKE_SECONDS
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import Story, chat, component, condition, raw_chat

TOLD_WITHIN = 120.0
"""Seconds for the inspection, and what it leads to."""


@pytest.fixture(scope="session")
def base() -> Any:
    """The folder of the trained model whose weights all of these have."""
    return store.ensure() / "dormouse" / "tiny-chat"


@contextlib.asynccontextmanager
async def profile(story: Story, **spec: Any) -> AsyncIterator[str]:
    """The real CPU profile under a name of this story's own."""
    found = await story.cluster.get("runtimeprofiles", None, "cpu")
    assert found is not None
    name = story.name("own-code")
    body = {k: found[k] for k in ("apiVersion", "kind")} | {"metadata": {"name": name}, "spec": found["spec"] | spec}
    await story.cluster.create("runtimeprofiles", None, body)
    try:
        yield name
    finally:
        await story.cluster.delete("runtimeprofiles", None, name)


async def _log(story: Story, name: str) -> str:
    (pod,) = await story.runtime_pods(name)
    return await story.cluster.log(story.namespace, pod["metadata"]["name"])


@pytest.mark.timeout(480)
async def test_code_runs_only_where_a_profile_says_so_and_only_the_pinned_commit(story: Story, base: Any) -> None:
    name = story.name("own")
    repo = f"e2e/{name}"
    commit = await story.hub.publish(repo, await asyncio.to_thread(owncode.files, base, "first"))
    async with profile(story) as allowed, story.recorded("pods", "jobs", "persistentvolumeclaims") as seen:
        await story.apply(model(name, repo, profile=allowed, engine={"maxModelLen": 256}))
        refused = await story.failing(name, TOLD_WITHIN)
        assert refused.reason == "RemoteCodeForbidden"
        assert f"kubectl patch runtimeprofiles.dormouse.dev {allowed} --type merge" in refused.message
        assert commit in refused.message
        answer = await raw_chat(name, FRANCE, seconds=30)
        assert (answer.status_code, "set spec.remoteCode" in answer.text or "remoteCode" in answer.text) == (503, True)
        assert not component(seen["jobs"], name, "pull")
        assert not seen["persistentvolumeclaims"].objects

        await story.cluster.patch("runtimeprofiles", None, allowed, {"spec": {"remoteCode": "Allowed"}})
        await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        await story.hub.publish(repo, await asyncio.to_thread(owncode.files, base, "second"))
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        log = await _log(story, name)
        assert f"{owncode.SAYS}: first" in log
        assert f"{owncode.SAYS}: second" not in log
        found = await story.seen(name, "which engine serves", lambda item: item["status"].get("engine") is not None)
        assert found["status"]["commit"] == commit
        assert found["status"]["engine"]["name"] == "vllm", found["status"]["engine"]

        await story.cluster.patch("runtimeprofiles", None, allowed, {"spec": {"remoteCode": "Forbidden"}})
        again = await story.failing(name, TOLD_WITHIN)
        assert again.reason == "RemoteCodeForbidden"
        await story.asleep(name)


@pytest.mark.timeout(420)
async def test_code_that_is_not_needed_never_runs(story: Story, base: Any) -> None:
    """A Llama whose files name code everywhere, where the profile allows code: it is served without a line of it."""
    name = story.name("smuggler")
    content = await asyncio.to_thread(owncode.smuggling, base)
    await story.hub.publish(f"e2e/{name}", content)
    async with profile(story, remoteCode="Allowed") as allowed:
        await story.apply(model(name, f"e2e/{name}", profile=allowed, engine={"maxModelLen": 256}))
        await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
        assert await chat(name, FRANCE, seconds=WAKE_SECONDS) == PARIS
        log = await _log(story, name)
        assert "loading" in log.lower()
        assert owncode.SAYS not in log
        found = await story.seen(name, "which engine serves", lambda item: item["status"].get("engine") is not None)
        assert found["status"]["engine"]["name"] == "vllm"


async def test_code_of_another_repository_is_refused_whatever_the_profile_says(story: Story, base: Any) -> None:
    name = story.name("elsewhere")
    await story.hub.publish(f"e2e/{name}", await asyncio.to_thread(owncode.elsewhere, base))
    async with profile(story, remoteCode="Allowed") as allowed:
        await story.apply(model(name, f"e2e/{name}", profile=allowed))
        refused = await story.failing(name, TOLD_WITHIN)
        assert refused.reason == "Unsupported"
        assert "Python code of another repository (other/repo), which is neither pulled nor pinned" in refused.message
        found = await story.seen(name, "told", lambda item: condition(item, ConditionType.MODEL_PULLED).reason != "")
        assert "commit" not in found["status"] or found["status"].get("volume") is None
