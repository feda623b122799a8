"""Story: what a real kubelet, scheduler and controllers refuse is said with its cure, heard by callers, and passes.

The whole table is played on a control plane without a node (`tests/controlplane/test_failures.py`); here are those
whose words and pace only the real components have.
"""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from dormouse_api.conditions import ConditionType
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, PARIS, model, scripted_profile
from tests.e2e.story import Condition, Story, chat, condition, raw_chat

READY = ConditionType.READY
CLEARS_WITHIN = 150.0
"""Seconds: kubelets and controllers try again at their own pace, up to two minutes apart."""


@dataclass(frozen=True)
class Start:
    """A start that the cluster hinders. `wrong` is in the profile until it is `right`."""

    reason: str
    words: str
    fix: str
    wrong: dict[str, Any]
    right: dict[str, Any] = field(default_factory=dict)
    seconds: float = 60


STARTS = {
    "no-image": Start(
        "ImagePullFailed",
        "localhost/dormouse-nowhere:1",
        "registry",
        {"image": "localhost/dormouse-nowhere:1"},
        {"image": scripted_profile()["spec"]["image"]},
    ),
    "no-cpu": Start(
        "Unschedulable",
        "Insufficient cpu",
        "lower resources.requests in the profile",
        {"resources": {"requests": {"cpu": "900"}}},
        {"resources": {"requests": {"cpu": "10m"}}},
    ),
    "no-device": Start(
        "Unschedulable",
        "Insufficient example.com/nothing",
        "install the device plugin",
        {"resources": {"limits": {"example.com/nothing": "1"}}},
        {"resources": {"requests": {"cpu": "10m"}, "limits": {"example.com/nothing": None}}},
    ),
    "no-node": Start(
        "Unschedulable",
        "node affinity/selector",
        "label a node as the profile's nodeSelector says",
        {"nodeSelector": {"dormouse.dev/e2e": "nowhere"}},
        {"nodeSelector": None},
    ),
}


@contextlib.asynccontextmanager
async def _profile(story: Story, base: str, **spec: Any) -> AsyncIterator[str]:
    name = story.name(base)
    body = scripted_profile() | {"metadata": {"name": name}}
    await story.cluster.create("runtimeprofiles", None, body | {"spec": body["spec"] | spec})
    try:
        yield name
    finally:
        await story.cluster.delete("runtimeprofiles", None, name)


async def _told(
    story: Story, name: str, reason: str, words: str, seconds: float, kind: ConditionType = READY
) -> Condition:
    """The condition once it says so."""

    def holds(item: dict[str, Any]) -> bool:
        found = condition(item, kind)
        return found.reason == reason and words in found.message

    return condition(await story.seen(name, f"{kind.value} {reason}: {words}", holds, seconds), kind)


@pytest.mark.parametrize("base", STARTS)
async def test_a_start_that_the_cluster_hinders(story: Story, base: str) -> None:
    case = STARTS[base]
    async with _profile(story, base) as profile:
        name = await story.scripted(base, profile=profile)
        await story.ready(name, "ScaledToZero")
        await story.cluster.patch("runtimeprofiles", None, profile, {"spec": case.wrong})
        refused = await raw_chat(name, FRANCE, seconds=120)
        assert refused.status_code == 503, refused.text
        said = refused.json()["error"]["message"]
        assert (case.words in said, case.fix in said) == (True, True), said
        found = await _told(story, name, case.reason, case.words, case.seconds)
        assert found.status == "False"
        await story.cluster.patch("runtimeprofiles", None, profile, {"spec": case.right})
        deadline = time.monotonic() + CLEARS_WITHIN
        await story.seen(name, "well again", lambda item: condition(item).status == "True", CLEARS_WITHIN)
        assert await chat(name, FRANCE, seconds=max(1.0, deadline - time.monotonic())) == PARIS


async def test_a_token_whose_secret_is_missing(story: Story) -> None:
    """Only an Event of the pod has the cause: the kubelet cannot mount what is not there."""
    name, repo = story.name("no-secret"), await story.publish("no-secret")
    await story.apply(model(name, repo, source={"uri": f"hf://{repo}", "tokenSecretRef": {"name": "hub"}}))
    found = await _told(story, name, "SecretMissing", 'secret "hub" not found', 120)
    assert "create secret generic hub --from-literal=token=" in found.message
    assert found.status == "False"
    await story.cluster.create("secrets", story.namespace, {"metadata": {"name": "hub"}, "stringData": {"token": "t"}})
    await story.ready(name, seconds=CLEARS_WITHIN)


async def test_a_class_that_is_not_there(story: Story) -> None:
    name, repo = story.name("no-class"), await story.publish("no-class")
    await story.apply(model(name, repo, storage={"className": "dormouse-nowhere"}))
    found = await _told(story, name, "StorageFailed", "dormouse-nowhere", 120)
    assert "make that StorageClass" in found.message
    assert found.status == "False"
    await _told(story, name, "StorageFailed", "dormouse-nowhere", 60, ConditionType.STORAGE_BOUND)


async def test_a_claim_of_the_users_own_that_comes_later(story: Story) -> None:
    name, repo = story.name("no-claim"), await story.publish("no-claim")
    await story.apply(model(name, repo, storage={"existingClaim": "mine"}))
    await _told(story, name, "StorageFailed", "there is no PersistentVolumeClaim mine", 120)
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "64Mi"}}}
    await story.cluster.create("persistentvolumeclaims", story.namespace, {"metadata": {"name": "mine"}, "spec": spec})
    found = await story.ready(name, seconds=CLEARS_WITHIN)
    assert found["status"]["volume"]["claim"] == "mine"


async def test_a_quota_that_lets_no_pod_be(story: Story) -> None:
    body = {"metadata": {"name": "walls"}, "spec": {"hard": {"pods": "0"}}}
    await story.cluster.create("resourcequotas", story.namespace, body)

    def counted(quotas: list[Object]) -> bool:
        # until then it refuses pods in other words
        return any("hard" in quota.get("status", {}) for quota in quotas)

    await story.cluster.until("resourcequotas", story.namespace, counted, "the quota is in force")
    name = await story.scripted("quota")
    found = await _told(story, name, "Refused", "exceeded quota", 120)
    assert "raise the ResourceQuota" in found.message
    assert found.status == "False"
    await story.cluster.delete("resourcequotas", story.namespace, "walls")
    await story.ready(name, seconds=CLEARS_WITHIN)
