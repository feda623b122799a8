"""Fixtures of the end-to-end stories: the real local cluster with the product installed, and a namespace per story."""

import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from dev.cluster.layout import HUB_PORT, node_layout
from dev.hub.client import HubControl
from tests.e2e.cluster import Cluster
from tests.e2e.samples import scripted_profile
from tests.e2e.shell import kubectl
from tests.e2e.story import ROUTER, Story

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def testbed() -> Path:
    """The kubeconfig of a cluster with Dormouse, the hub stand-in and the scripted profile."""
    kubeconfig = node_layout().kubeconfig
    try:
        httpx.get(f"{ROUTER}/api/version", timeout=10, trust_env=False).raise_for_status()
        httpx.get(f"http://127.0.0.1:{HUB_PORT}/_health", timeout=10, trust_env=False).raise_for_status()
    except httpx.HTTPError as error:
        pytest.fail(f"no cluster to test ({error}): run `python -m dev.testbed` or `make up` first")
    kubectl("apply", "--server-side", "-f", "-", standard_input=json.dumps(scripted_profile()))
    return kubeconfig


@pytest.fixture
async def cluster(testbed: Path) -> AsyncIterator[Cluster]:
    connected = Cluster(testbed)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def hub(testbed: Path) -> HubControl:
    """The hub stand-in's control pages."""
    return HubControl(f"http://127.0.0.1:{HUB_PORT}")


@pytest.fixture
async def story(request: pytest.FixtureRequest, cluster: Cluster, hub: HubControl) -> AsyncIterator[Story]:
    """A namespace of its own; its faults at the hub end with it."""
    token = secrets.token_hex(3)
    words = re.sub(r"[^a-z0-9]+", "-", request.node.originalname.removeprefix("test_").lower())[:40].strip("-")
    namespace = f"e2e-{words}-{token}"
    await cluster.create("namespaces", None, {"metadata": {"name": namespace, "labels": {"dormouse.dev/e2e": "true"}}})
    # without its account a namespace refuses pods, and whoever made them tries again seconds later
    await cluster.until("serviceaccounts", namespace, bool, "the namespace's account")
    yield Story(cluster, hub, namespace, token)
    hub.faults()
    await cluster.delete("namespaces", None, namespace)
