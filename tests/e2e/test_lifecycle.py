"""A model's life beside the main road: another revision, another name, removal without a trace, kept weights."""

from typing import Any

import httpx

from dormouse_api.conditions import ConditionType
from dormouse_api.names import LABEL_COMPONENT, LABEL_MODEL, weights_name
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, MIB, PARIS, model, repository
from tests.e2e.story import ROUTER, Story, chat, condition, raw_chat

CHILDREN = ("pods", "jobs", "deployments", "services", "leases", "persistentvolumeclaims")


async def test_another_revision_is_pulled_and_served(story: Story) -> None:
    name = await story.scripted("rolling")
    before = await story.ready(name, "ScaledToZero")
    repo = before["spec"]["source"]["uri"].removeprefix("hf://")
    commit = await story.hub.publish(repo, repository(32 * 1024, seed=1), "v2")
    assert commit != before["status"]["commit"]
    change = {"spec": {"source": {"revision": "v2"}}}
    await story.cluster.patch("inferencemodels", story.namespace, name, change)

    def rolled(items: list[Object]) -> bool:
        return any(commit in str(item["spec"]) for item in items)

    assert await chat(name, FRANCE) == PARIS, "the old revision serves while the new one is pulled"
    await story.cluster.until("deployments", story.namespace, rolled, f"{name}: a deployment of the new commit")

    def pulled(item: Object) -> bool:
        said = condition(item, ConditionType.MODEL_PULLED)
        return said.status == "True" and commit in said.message

    # the status is written after the Deployment, and the old revision was Ready all the time
    await story.seen(name, "the new revision is pulled", pulled)
    assert (await story.ready(name))["status"]["commit"] == commit
    assert await chat(name, FRANCE) == PARIS

    def new(pods: list[Object]) -> bool:
        # the old one may have answered, and still be there
        serving = [pod for pod in pods if commit in str(pod["spec"]["containers"][0].get("env"))]
        runtimes = [pod for pod in serving if pod["metadata"].get("labels", {}).get(LABEL_COMPONENT) == "runtime"]
        return any(pod["status"].get("phase") == "Running" for pod in runtimes)

    await story.cluster.until("pods", story.namespace, new, f"{name}: a runtime pod of the new commit", 120)


async def test_other_names_reach_the_same_model(story: Story) -> None:
    alias = story.name("Organisation") + "/Nick:v1"
    name = await story.scripted("named", aliases=[alias])
    await story.ready(name, "ScaledToZero")
    for called in (name, alias, f"{story.namespace}/{name}"):
        assert await chat(called, FRANCE) == PARIS
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        question = {"model": alias.lower(), "prompt": FRANCE, "stream": False}
        answer = (await http.post("/api/generate", json=question)).json()
    assert (answer["response"], answer["model"]) == (PARIS, alias.lower())


async def test_a_deleted_model_leaves_nothing(story: Story) -> None:
    name = await story.scripted("leaving")
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    for resource in ("deployments", "services", "leases", "persistentvolumeclaims", "pods"):
        assert await _children(story, resource, name), resource
    await story.cluster.delete("inferencemodels", story.namespace, name)
    for resource in CHILDREN:
        none = _gone(name)
        await story.cluster.until(resource, story.namespace, none, f"{name}: no {resource}", 120)
    answer = await raw_chat(name, FRANCE)
    assert answer.status_code == 404
    assert name in answer.json()["error"]["message"]


async def test_kept_weights_are_adopted_without_another_pull(story: Story) -> None:
    name, repo = story.name("kept"), await story.publish("kept", 4 * MIB)
    body = model(name, repo, storage={"reclaimPolicy": "Retain"})
    await story.apply(body)
    await story.ready(name, "ScaledToZero")
    claim = await story.cluster.get("persistentvolumeclaims", story.namespace, weights_name(name))
    assert claim is not None
    await story.cluster.delete("inferencemodels", story.namespace, name)
    gone = _gone(name)
    await story.cluster.until("deployments", story.namespace, gone, f"{name}: no deployment")
    already = len(await story.hub.sent(repo))
    await story.apply(body)
    await story.ready(name, "ScaledToZero")
    again = await story.cluster.get("persistentvolumeclaims", story.namespace, weights_name(name))
    assert again is not None
    assert again["metadata"]["uid"] == claim["metadata"]["uid"]
    again_sent = (await story.hub.sent(repo))[already:]
    assert sum(entry["sent"] for entry in again_sent) < MIB, "more came than the inspection's look at the tensors"
    assert await chat(name, FRANCE) == PARIS


async def _children(story: Story, resource: str, name: str) -> list[Object]:
    return await story.cluster.find(resource, story.namespace, f"{LABEL_MODEL}={name}")


def _gone(name: str) -> Any:
    def holds(items: list[Object]) -> bool:
        return not [item for item in items if item["metadata"].get("labels", {}).get(LABEL_MODEL) == name]

    return holds
