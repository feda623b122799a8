"""Three models share one accelerator: they take turns, nobody starves, and no stream is cut."""

import asyncio
import json
import logging
import os
import random
import time

import pytest

from dev.cluster import gpus
from dev.cluster.layout import node_layout
from dev.cluster.lifecycle import Cluster as Node
from dormouse_api.names import LABEL_COMPONENT
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, PARIS, scripted_profile
from tests.e2e.shell import kubectl
from tests.e2e.story import Story, chat, condition, streamed

log = logging.getLogger(__name__)

PROFILE = "scripted-gpu"
SECONDS = float(os.environ.get("DORMOUSE_E2E_TURNS_SECONDS", "40"))
"""How long the callers call; issue-sized runs set 600."""
STARTS = {"small": 0.2, "mid": 1.0, "large": 4.0}
"""Models, and the seconds that the engine of each loads."""
LONGEST_WAIT = 120.0
"""The turns of the two others with their starts and last calls, and its own start, on a machine that does more."""
TOKENS = 80


@pytest.fixture
def one_device(testbed: object) -> None:
    """The node has one accelerator, and a profile asks for it. Both stay: nothing else asks for it."""
    gpus.pretend(Node(node_layout()), 1)
    profile = scripted_profile()
    profile["metadata"]["name"] = PROFILE
    del profile["spec"]["kvCacheMemory"]  # on an accelerator: what is left of it
    profile["spec"] |= {"device": "cuda", "accelerator": {"resource": gpus.RESOURCE, "memory": "24Gi"}}
    kubectl("apply", "--server-side", "-f", "-", standard_input=json.dumps(profile))


def _resident(item: Object) -> bool:
    runtime = item["metadata"].get("labels", {}).get(LABEL_COMPONENT) == "runtime"
    return runtime and "nodeName" in item["spec"] and item["status"].get("phase") not in ("Succeeded", "Failed")


async def _sleeping(story: Story) -> list[str]:
    names = []
    for base, seconds in STARTS.items():
        script = {"stages": [["loading", seconds]]}
        names.append(await story.scripted(base, script, profile=PROFILE))
    for name in names:
        await story.ready(name, "ScaledToZero")
    return names


async def test_three_models_share_one_device(story: Story, one_device: None) -> None:
    names = await _sleeping(story)
    until, chance = time.monotonic() + SECONDS, random.Random(6)  # noqa: S311 - when to call, no secret
    waits: dict[str, list[float]] = {name: [] for name in names}

    async def asks(name: str) -> None:
        while time.monotonic() < until:
            began = time.monotonic()
            assert await chat(name, FRANCE) == PARIS
            waits[name].append(time.monotonic() - began)
            await asyncio.sleep(chance.uniform(0.0, 0.4))

    async def streams(name: str) -> None:
        while time.monotonic() < until:
            assert len(await streamed(name, f"!slow {TOKENS} tokens 100ms")) == TOKENS, "a stream was cut"

    async with story.pods_counted(_resident) as counts:
        await asyncio.gather(*(asks(name) for name in [*names, *names]), *(streams(name) for name in names))
    assert max(counts) == 1
    for name in names:
        assert waits[name]
        assert max(waits[name]) <= LONGEST_WAIT, f"{name} starves"
        found = await story.seen(name, "a turn in its status", lambda item: item["status"].get("swaps"))
        for swap in found["status"]["swaps"]:
            log.info("%s: %s", name, swap)
            assert 0 < swap["seconds"] <= LONGEST_WAIT


async def test_who_waits_is_told_for_whom(story: Story, one_device: None) -> None:
    first, second, _ = await _sleeping(story)
    stream = asyncio.create_task(streamed(first, "!slow 450 tokens 100ms"))
    await story.ready(first, "Serving")
    waiting = asyncio.create_task(chat(second, FRANCE))
    found = await story.ready(second, "WaitingForAccelerator")
    assert f"{story.namespace}/{first}" in condition(found).message
    assert found["status"]["line"]["position"] == 1
    assert found["status"]["line"]["holder"] == f"{story.namespace}/{first}"
    await story.ready(first, "MakingRoom")
    assert not waiting.done()
    assert len(await stream) == 450, "its last call is not cut"
    assert await waiting == PARIS
    assert condition(await story.ready(second, "Serving")).status == "True"
