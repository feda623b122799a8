"""Story 2: a stranger applies the quickstart, it becomes ready without a single runtime pod, and clients see it."""

from collections.abc import Iterator

import httpx
import pytest
import yaml

from dev.cluster.layout import REPOSITORY
from tests.e2e.cluster import Cluster
from tests.e2e.shell import kubectl
from tests.e2e.story import ROUTER, Story, condition

MANIFEST = REPOSITORY / "manifests" / "quickstart" / "model.yaml"
MODEL = "inferencemodels.dormouse.dev/tiny-chat"


def applied() -> None:
    """Its model, applied and ready: where it was not there before, its weights are pulled first."""
    kubectl("apply", "-f", str(MANIFEST))
    kubectl("wait", "--for=condition=Ready", MODEL, "-n", "default", "--timeout=200s")


@pytest.fixture
def quickstart(testbed: object) -> Iterator[str]:
    """The name of the quickstart's model, applied; taken away again where it was not there before."""
    body = yaml.safe_load(MANIFEST.read_text())
    name: str = body["metadata"]["name"]
    there = bool(kubectl("get", "inferencemodels.dormouse.dev", name, "-n", "default", "--ignore-not-found"))
    applied()
    yield name
    if not there:
        kubectl("delete", "inferencemodels.dormouse.dev", name, "-n", "default", "--wait=false")


async def test_quickstart(quickstart: str, cluster: Cluster, story: Story) -> None:
    home = Story(cluster, story.hub, "default", "")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        await http.post("/api/generate", json={"model": quickstart, "keep_alive": 0})  # somebody may have called it
    await home.asleep(quickstart)
    found = await home.ready(quickstart, "ScaledToZero")
    assert condition(found).message
    assert await home.runtime_pods(quickstart) == []
    assert {quickstart, "tiny", f"default/{quickstart}"} <= set(found["status"]["servedNames"])
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        models = (await http.get("/v1/models")).json()["data"]
        tags = (await http.get("/api/tags")).json()["models"]
    assert quickstart in {row["id"] for row in models}
    assert f"{quickstart}:latest" in {row["name"] for row in tags}
    shown = kubectl("get", "inferencemodels.dormouse.dev", quickstart, "-n", "default")
    assert "ScaledToZero" in shown
