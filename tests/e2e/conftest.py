"""Fixtures of the end-to-end stories: the real local cluster with the product installed, and a namespace per story.

All stories share one event loop, so that one may go on waiting in the background while the next is told.
"""

import errno
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from dev.cluster.layout import HUB_PORT, node_layout
from dev.hub.client import HubControl
from tests.e2e.cluster import Cluster
from tests.e2e.engines import Outcomes, engines_at_work
from tests.e2e.samples import scripted_profile
from tests.e2e.shell import kubectl
from tests.e2e.story import ROUTER, Hub, Story, begun

HERE = Path(__file__).parent
ORDER = (
    "bad_input",
    "quickstart",
    "clients",
    "ollama_cli",
    "ollama_templates",
    "anthropic",
    "tools",
    "sdks",
    "native",
    "responses",
    "predictions",
    "batch",
    "openai_words",
    "wake",
    "first_token",
    "routes",
    "router_replicas",
    "autoscale",
    "turns",
    "pull_queue",
    "monitoring",
    "faults",
    "holding",
    "lifecycle",
    "volumes",
    "engines",
    "engine_failures",
    "remote_code",
    "adapting",
    "adapters",
    "speculative",
    "tasks",
    "images",
    "custom",
    "pull_faults",
    "failures_real",
    "sources",
    "network_policies",
    "release",
)
"""Of the stories: none may have an engine at work in the background while `faults` kills routers."""
BESIDE_ENGINES = ("holding", "lifecycle")
"""Stories that wait more than they work, so that the engines' start beside them."""
HUB = f"http://127.0.0.1:{HUB_PORT}"
ANSWERS_WITHIN = 90.0
"""Seconds: the node's own tests may have restarted it a moment ago, and every pod with it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(HERE)]
    told = sorted((items[place] for place in places), key=lambda item: ORDER.index(_title(item)))
    with_engines = any(_title(item) == "engines" for item in told)
    for place, item in zip(places, told, strict=True):
        items[place] = item
        item.add_marker(pytest.mark.e2e)
        item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
        if with_engines and _title(item) in BESIDE_ENGINES and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, "engines")  # a marker would come too late: fixtures are chosen already


def _title(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


@pytest.fixture(scope="session")
def testbed() -> Path:
    """The kubeconfig of a cluster with Dormouse, the hub stand-in and the scripted profile."""
    for page in (f"{ROUTER}/api/version", f"{HUB}/_health"):
        _answers(page, time.monotonic() + ANSWERS_WITHIN)
    kubectl("apply", "--server-side", "-f", "-", standard_input=json.dumps(scripted_profile()))
    return node_layout().kubeconfig


def _answers(page: str, deadline: float) -> None:
    while True:
        try:
            httpx.get(page, timeout=10, trust_env=False).raise_for_status()
        except httpx.HTTPError as error:
            nobody_listens = f"[Errno {errno.ECONNREFUSED}]" in str(error)
            if nobody_listens or time.monotonic() > deadline:
                pytest.fail(f"no cluster to test ({error}): run `python -m dev.testbed` or `make up` first")
            time.sleep(0.2)
        else:
            return


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(testbed: Path) -> AsyncIterator[Cluster]:
    connected = Cluster(testbed)
    yield connected
    await connected.close()


@pytest.fixture(scope="session")
def hub(testbed: Path) -> Hub:
    return Hub(HubControl(HUB))


@pytest_asyncio.fixture(loop_scope="session")
async def story(request: pytest.FixtureRequest, cluster: Cluster, hub: Hub) -> AsyncIterator[Story]:
    """A namespace of its own; its faults at the hub end with it."""
    async with begun(cluster, hub, request.node.originalname.removeprefix("test_")) as told:
        yield told


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def engines(cluster: Cluster, hub: Hub) -> AsyncIterator[Outcomes]:
    """The cases of story 5, at work from the first story that lets them."""
    async with engines_at_work(cluster, hub) as outcomes:
        yield outcomes
