"""A burst on the real cluster: from no pod to three for its callers, and back to none when they have gone."""

import asyncio

from dormouse_api.names import LABEL_COMPONENT, LABEL_MODEL
from tests.e2e.cluster import Object
from tests.e2e.story import Story, streamed

PODS = 3
CALLERS = 12
TOKENS = 300
"""Of 100 ms each: the burst lasts longer than the starts of the pods it needs."""


async def test_burst_brings_pods_and_its_end_takes_them(story: Story) -> None:
    scaling = {"maxReplicas": PODS, "targetInFlight": 4, "idleSeconds": 2}
    name = await story.scripted("burst", scaling=scaling)
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen:
        calls = [asyncio.create_task(streamed(name, f"!slow {TOKENS} tokens 100ms")) for _ in range(CALLERS)]

        def serving(items: list[Object]) -> bool:
            return len([item for item in items if _mine(item, name) and _ready(item)]) == PODS

        await story.cluster.until("pods", story.namespace, serving, f"{name}: {PODS} ready pods", 120)
        # whoever comes now finds room that was not there when the burst began
        late = [asyncio.create_task(streamed(name, "!slow 5 tokens 100ms")) for _ in range(PODS)]
        assert [len(pieces) for pieces in await asyncio.gather(*late)] == [5] * PODS
        assert [len(pieces) for pieces in await asyncio.gather(*calls)] == [TOKENS] * CALLERS, "no stream was cut"
        await story.asleep(name)
        assert len([item for item in seen["pods"].labelled(LABEL_MODEL, name) if _mine(item, name)]) == PODS


def _mine(item: Object, name: str) -> bool:
    labels = item["metadata"].get("labels", {})
    return (labels.get(LABEL_MODEL), labels.get(LABEL_COMPONENT)) == (name, "runtime")


def _ready(item: Object) -> bool:
    found = item["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in found)
