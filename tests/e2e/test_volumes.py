"""Volumes: the same weights come once, a new revision finds its room, what nobody needs goes, what is kept is found."""

from typing import Any

import pytest

from dormouse_api.conditions import ConditionType
from dormouse_api.names import LABEL_CLAIM, LABEL_MODEL, weights_name
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, MIB, PARIS, model, repository
from tests.e2e.story import Story, chat, condition

SMALL = 24 * MIB
LOOK = MIB
"""An inspection reads the heads of the weights: less than this."""


async def sent(story: Story, repo: str) -> int:
    return sum(entry["sent"] for entry in await story.hub.sent(repo))


async def claims(story: Story) -> list[Object]:
    return await story.cluster.find("persistentvolumeclaims", story.namespace, LABEL_MODEL)


async def revise(story: Story, name: str, repo: str, number: int) -> str:
    """Another revision of the same size, pulled and switched to; its commit."""
    commit = await story.hub.publish(repo, repository(SMALL, seed=number), f"v{number}")
    change = {"spec": {"source": {"revision": f"v{number}"}}}
    await story.cluster.patch("inferencemodels", story.namespace, name, change)

    def pulled(item: Object) -> bool:
        said = condition(item, ConditionType.MODEL_PULLED)
        return said.status == "True" and commit in said.message

    await story.seen(name, f"revision {number} is pulled", pulled, seconds=120)
    return commit


async def test_two_models_of_the_same_weights_pull_them_once(story: Story) -> None:
    repo = await story.publish("twice", SMALL)
    first, second = story.name("first"), story.name("second")
    for name in (first, second):
        await story.apply(model(name, repo))
    for name in (first, second):
        await story.ready(name, "ScaledToZero")
    assert await sent(story, repo) < SMALL + 2 * LOOK, "the weights came once"
    (claim,) = await claims(story)
    assert sorted(o["name"] for o in claim["metadata"]["ownerReferences"]) == sorted((first, second))
    for name in (first, second):
        assert await chat(name, FRANCE) == PARIS, "both serve from it, at the same time"
    pods = await story.cluster.find("pods", story.namespace, f"{LABEL_CLAIM}={claim['metadata']['name']}")
    running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
    assert {pod["metadata"]["labels"][LABEL_MODEL] for pod in running} == {first, second}
    assert len({pod["spec"]["nodeName"] for pod in running}) == 1
    holder = claim["metadata"]["labels"][LABEL_MODEL]
    left = second if holder == first else first
    await story.cluster.delete("inferencemodels", story.namespace, holder)

    def alone(items: list[Object]) -> bool:
        return any([o["name"] for o in i["metadata"].get("ownerReferences", [])] == [left] for i in items)

    await story.cluster.until("persistentvolumeclaims", story.namespace, alone, f"{left} has the volume alone")
    assert await chat(left, FRANCE) == PARIS, "the other's weights are still there"
    await story.cluster.delete("inferencemodels", story.namespace, left)
    gone = _none(weights_name(holder))
    await story.cluster.until("persistentvolumeclaims", story.namespace, gone, "the last takes it along", 120)


async def test_a_new_revision_grows_a_real_disk(story: Story) -> None:
    """A disk that is full when it is full. Its size is asked for in MiB, so it grows by what the spec says."""
    repo, name = await story.publish("growing", SMALL), story.name("growing")
    await story.apply(model(name, repo, storage={"className": "small-disk", "size": "40Mi"}))
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    await story.hub.publish(repo, repository(SMALL, seed=2), "v2")
    await story.cluster.patch("inferencemodels", story.namespace, name, {"spec": {"source": {"revision": "v2"}}})

    def full(item: Object) -> bool:
        said = condition(item, ConditionType.MODEL_PULLED)
        return said.reason == "NoSpace" and "raise spec.storage.size beyond 40Mi" in said.message

    await story.seen(name, "no room beside the revision that serves", full, seconds=120)
    assert await chat(name, FRANCE) == PARIS, "which serves on"
    await story.cluster.patch("inferencemodels", story.namespace, name, {"spec": {"storage": {"size": "80Mi"}}})

    def pulled(item: Object) -> bool:
        said = condition(item, ConditionType.MODEL_PULLED)
        return said.status == "True" and len(item["status"]["volume"]["folders"]) == 2

    await story.seen(name, "the volume has grown, and the pull went on by itself", pulled, seconds=120)
    assert await chat(name, FRANCE) == PARIS


@pytest.mark.timeout(480)
async def test_old_revisions_leave_a_real_disk_and_the_way_back_pulls_nothing(story: Story) -> None:
    repo, name = await story.publish("moving", SMALL), story.name("moving")
    # room for four of these revisions: the fifth finds it only because the oldest have gone
    await story.apply(model(name, repo, storage={"className": "small-disk", "size": "110Mi"}))
    before = await story.ready(name, "ScaledToZero")
    commits = [before["status"]["commit"], *[await revise(story, name, repo, number) for number in (2, 3, 4, 5)]]

    def cleared(item: Object) -> bool:
        volume = item["status"]["volume"]
        return volume["folders"] == commits[-3:] and "removing" not in volume

    await story.seen(name, "three revisions are left", cleared, seconds=120)
    already = await sent(story, repo)
    await story.cluster.patch("inferencemodels", story.namespace, name, {"spec": {"source": {"revision": "v4"}}})

    def back(item: Object) -> bool:
        said = condition(item, ConditionType.MODEL_PULLED)
        return said.status == "True" and commits[3] in said.message

    await story.seen(name, "the way back", back)
    assert await sent(story, repo) - already < LOOK
    assert await chat(name, FRANCE) == PARIS


async def test_a_retained_volume_is_found_again_by_whoever_has_the_same_weights(story: Story) -> None:
    repo, name = await story.publish("heirloom", SMALL), story.name("heirloom")
    await story.apply(model(name, repo, storage={"reclaimPolicy": "Retain"}))
    await story.ready(name, "ScaledToZero")
    (claim,) = await claims(story)
    await story.cluster.delete("inferencemodels", story.namespace, name)
    gone = _none(f"{name}-runtime")
    await story.cluster.until("deployments", story.namespace, gone, f"{name}: no deployment")
    already = await sent(story, repo)
    heir = story.name("heir")
    await story.apply(model(heir, repo))
    ready = await story.ready(heir, "ScaledToZero")
    assert ready["status"]["volume"]["claimUid"] == claim["metadata"]["uid"]
    assert await sent(story, repo) - already < LOOK, "nothing but the inspection's look came"
    assert await chat(heir, FRANCE) == PARIS


def _none(name: str) -> Any:
    def holds(items: list[Object]) -> bool:
        return not [item for item in items if item["metadata"]["name"] == name]

    return holds
