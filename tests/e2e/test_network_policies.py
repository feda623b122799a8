"""The chart's NetworkPolicies on the real cluster, enforced: what is needed goes on, strangers reach no engine."""

import asyncio
import re
import subprocess
from collections.abc import AsyncIterator, Callable

import pytest_asyncio

from dev import manifests, testbed
from dev.cluster.layout import node_layout
from dev.cluster.policies.ruleset import TABLE
from dormouse_api.names import PORT_SERVING
from tests.e2e.callers import COULD_NOT_CONNECT, curl
from tests.e2e.disasters import SYSTEM
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.shell import cluster as on_cluster
from tests.e2e.shell import kubectl
from tests.e2e.story import Story, chat

MODELS = "dormouse-models,dormouse-pulls"
PATIENCE = 90.0


@pytest_asyncio.fixture(loop_scope="session")
async def policies(story: Story) -> AsyncIterator[str]:
    """Those of the installed release and of the story's namespace, as one manifest: applied and enforced."""
    wish = f"networkPolicy.enabled=true,networkPolicy.modelNamespaces={{{story.namespace}}}"
    options = ("-n", SYSTEM, "-f", str(testbed.VALUES), "--set", wish, "-s", "templates/networkpolicy.yaml")
    text = manifests.helm("template", testbed.RELEASE, str(manifests.CHART), *options).stdout
    kubectl("apply", "--server-side", "-f", "-", standard_input=text)
    try:
        await on_cluster("policies", "on")
        yield text
    finally:
        await on_cluster("policies", "off")
        kubectl("delete", "--ignore-not-found", "-f", "-", standard_input=text)


def firewall() -> str:
    """The table in the cluster's network."""
    command = ["nsenter", f"--net={node_layout().network}", "nft", "list", "table", *TABLE.split()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


async def until_firewall(holds: Callable[[str], bool], what: str) -> str:
    found = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while not holds(found):
                await asyncio.sleep(0.1)
                found = await asyncio.to_thread(firewall)
    except TimeoutError:
        raise AssertionError(f"{what}: not within {PATIENCE} s; the firewall:\n{found}") from None
    return found


def chain(direction: str, address: str) -> str:
    return f"chain {direction}_{address.replace('.', '_')} "


async def test_an_engine_is_reached_by_the_router_and_by_nobody_else(story: Story, policies: str) -> None:
    """Inspected, pulled, woken, answered: all of it under the policies. Then a stranger, with them and without.

    The namespace takes restricted pods only, so those of models are.
    """
    kubectl("label", "namespace", story.namespace, "pod-security.kubernetes.io/enforce=restricted")
    name = await story.scripted("closed", scaling={"idleSeconds": 300})
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS
    address = (await story.pod(name, "runtime"))["status"]["podIP"]
    engine = f"http://{address}:{PORT_SERVING}/v1/models"
    await until_firewall(lambda rules: chain("in", address) in rules, "the engine is closed")
    status, said = await curl(story, "stranger", "--connect-timeout", "5", engine)
    assert status in COULD_NOT_CONNECT, said
    assert await chat(name, FRANCE) == PARIS
    await asyncio.to_thread(_nothing_needed_was_denied)
    kubectl("-n", story.namespace, "delete", "networkpolicies", *MODELS.split(","))
    await until_firewall(lambda rules: bool(rules) and chain("in", address) not in rules, "the engine is open")
    status, said = await curl(story, "acquaintance", "-f", "--connect-timeout", "5", engine)
    assert (status, name in said) == (0, True), said


def _nothing_needed_was_denied() -> None:
    """No packet of the control plane met the end of its chain since the table was last written."""
    pods = kubectl("get", "pods", "-n", SYSTEM, "-o", "jsonpath={.items[*].status.podIP}").split()
    rules = firewall()
    for address in pods:
        found = re.search(re.escape(chain("out", address)) + r"\{.*?counter packets (\d+)", rules, re.DOTALL)
        assert found is not None, f"{address} is not closed:\n{rules}"
        assert found[1] == "0", f"{address} was denied something:\n{rules}"
