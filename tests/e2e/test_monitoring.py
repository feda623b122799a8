"""A real Prometheus and the live cluster: every query of every dashboard has an answer, and faults fire alerts."""

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dormouse_api import metrics as m
from dormouse_api.names import API_VERSION
from tests.e2e.cluster import Object
from tests.e2e.prometheus import running
from tests.e2e.samples import FRANCE, MIB, PARIS, model, repository
from tests.e2e.shell import kubectl
from tests.e2e.story import Story, chat, raw_chat, streamed
from tests.monitoring.live import Prometheus
from tests.monitoring.panels import Panel, choices, dashboards, panels, resolved

SYSTEM = "dormouse-system"
DEVICES_ONLY = {"fleet: GPU memory", "fleet: GPU utilisation", "fleet: GPU temperature"}
"""Panels that need a GPU: there is none here."""
INTERVALS = {"__rate_interval": "2m", "__interval": "2s", "__range": "10m"}
LOOKED_BACK = 100.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def prometheus(testbed: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Prometheus]:
    async with running(tmp_path_factory.mktemp("prometheus"), testbed) as made:
        await made.until_some(f"{m.LEADER} == 1")
        await made.until_some(m.LEASE_WRITES)
        yield made


async def test_every_query_of_every_dashboard_has_an_answer(story: Story, prometheus: Prometheus) -> None:
    """What callers do in a day, twice: a counter's first value is not yet a rate."""
    name = await story.scripted("watched", scaling={"idleSeconds": 2})
    await story.ready(name, "ScaledToZero")
    route = story.name("either")
    spec = {"variants": [{"model": name, "weight": 1}]}
    body = {"apiVersion": API_VERSION, "kind": "InferenceRoute", "metadata": {"name": route}, "spec": spec}
    await story.cluster.create("inferenceroutes", story.namespace, body)
    for time in ("first", "second"):
        assert await chat(name, FRANCE) == PARIS  # from its sleep
        assert await streamed(name, "!slow 10 tokens 20ms")
        assert (await raw_chat(route, FRANCE)).status_code == 200
        assert (await raw_chat(story.name("nobody"), FRANCE)).status_code == 404
        await story.asleep(name)
        await story.ready(await story.scripted(time))  # a pull
    silent: dict[str, str] = {}

    async def answered() -> bool:
        silent.clear()
        for title, one in dashboards().items():
            values = INTERVALS | await _chosen(prometheus, one, {"namespace": story.namespace, "model": name})
            for panel in panels(title, one):
                why = await _silent(prometheus, panel, values)
                if why:
                    silent[panel.name] = why
        return silent.keys() <= DEVICES_ONLY

    try:
        await prometheus.until(answered, "every panel has data", 120)
    finally:
        assert silent.keys() <= DEVICES_ONLY, silent
    assert silent.keys() == DEVICES_ONLY


async def _chosen(prometheus: Prometheus, dashboard: dict[str, Any], wanted: dict[str, str]) -> dict[str, str]:
    """The values of its variables: those wanted, which must be among those that Grafana would offer."""
    chosen: dict[str, str] = {}
    for name, series, label in choices(dashboard):
        offered = await prometheus.values(label, resolved(series, chosen))
        several = next(v for v in dashboard["templating"]["list"] if v["name"] == name)["multi"]
        if several:
            chosen[name] = "|".join(offered)
        else:
            assert wanted[name] in offered, (name, offered)
            chosen[name] = wanted[name]
    return chosen


async def _silent(prometheus: Prometheus, panel: Panel, values: dict[str, str]) -> str:
    """Why the panel would be empty; an empty string where it is not."""
    expr = resolved(panel.expr, values)
    found = await prometheus.over(expr, LOOKED_BACK)
    if not found:
        return f"no series: {expr}"
    numbers = [float(value) for series in found for _, value in series["values"]]
    # a ratio of what did not happen within the interval is no number, and no fault
    return "" if any(map(math.isfinite, numbers)) or " / " in expr else f"no number: {expr}"


async def test_a_model_that_fails_and_its_callers_errors(story: Story, prometheus: Prometheus) -> None:
    refuse = {"vllm": "the weights are upside down", "transformers": "the weights are upside down"}
    name = await story.scripted("doomed", {"stages": [["loading", 0.2]], "refuse": refuse})
    await story.ready(name, "ScaledToZero")
    full = f"{story.namespace}/{name}"
    assert (await raw_chat(name, FRANCE)).status_code == 503
    await prometheus.until_firing("DormouseModelFailing", namespace=story.namespace, model=name)
    await prometheus.until_some(f'{m.REQUESTS}{{model="{full}", code="503"}}')
    for _ in range(10):
        assert (await raw_chat(name, FRANCE)).status_code == 503
    await prometheus.until_firing("DormouseErrorRate", model=full)
    await story.cluster.delete("inferencemodels", story.namespace, name)
    await prometheus.until_quiet("DormouseModelFailing", namespace=story.namespace, model=name)


async def test_a_hold_that_fills(story: Story, prometheus: Prometheus) -> None:
    name = await story.scripted("crowded", {"stages": [["loading", 24]]}, scaling={"maxHeld": 5})
    await story.ready(name, "ScaledToZero")
    full = f"{story.namespace}/{name}"
    calls = [asyncio.create_task(chat(name, FRANCE)) for _ in range(5)]
    await prometheus.until_firing("DormouseHoldQueueFilling", model=full)
    assert await asyncio.gather(*calls) == [PARIS] * 5
    await prometheus.until_quiet("DormouseHoldQueueFilling", model=full)


async def test_a_pull_that_stalls(story: Story, prometheus: Prometheus) -> None:
    name, repo = story.name("stalled"), await story.publish("stalled", 8 * MIB)
    stall = {"kind": "stall", "path": f"{repo}.*safetensors", "after": MIB, "seconds": 120, "times": None}
    await story.faults(stall)
    await story.apply(model(name, repo))
    await prometheus.until_firing("DormousePullStalled", namespace=story.namespace, model=name)
    await story.faults()
    await story.cluster.delete("inferencemodels", story.namespace, name)
    await prometheus.until_quiet("DormousePullStalled", namespace=story.namespace, model=name)
    assert not await prometheus.firing("DormousePullStalled", namespace=story.namespace, model=name)


async def test_a_wake_that_is_slower_than_those_before(story: Story, prometheus: Prometheus) -> None:
    name = await story.scripted("tired", scaling={"idleSeconds": 1})
    for _ in range(2):
        await story.ready(name, "ScaledToZero")
        assert await chat(name, FRANCE) == PARIS
        await story.asleep(name)
    files = repository(64 * 1024, seed=1, script={"stages": [["loading", 16]]})
    commit = await story.hub.publish(f"e2e/{name}", files, branch="slow")
    await story.cluster.patch("inferencemodels", story.namespace, name, {"spec": {"source": {"revision": "slow"}}})

    def rolled(items: list[Object]) -> bool:
        return any(commit in str(item["spec"]) for item in items)

    # asleep meanwhile: a pod that is told to go in its first moments would stay until its grace is over
    await story.cluster.until("deployments", story.namespace, rolled, f"{name}: a deployment of the slow commit")
    await story.ready(name, "ScaledToZero")
    assert not await prometheus.firing("DormouseWakeSlow", model=name)
    assert await chat(name, FRANCE) == PARIS
    await prometheus.until_firing("DormouseWakeSlow", model=name)


@pytest.mark.parametrize(
    ("deployment", "alert"),
    [("dormouse-operator", "DormouseOperatorDown"), ("dormouse-router", "DormouseRouterDown")],
)
async def test_nobody_is_there(prometheus: Prometheus, deployment: str, alert: str) -> None:
    kubectl("-n", SYSTEM, "scale", f"deployment/{deployment}", "--replicas=0")
    try:
        await prometheus.until_firing(alert)
    finally:
        kubectl("-n", SYSTEM, "scale", f"deployment/{deployment}", "--replicas=1")
        kubectl("-n", SYSTEM, "rollout", "status", f"deployment/{deployment}", "--timeout=200s")
    await prometheus.until_quiet(alert)
    assert not await prometheus.firing(alert)
