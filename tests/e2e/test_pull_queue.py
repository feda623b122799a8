"""Five models and two places for pulls: a line that can be seen, overtaken, and left; and never a third pull."""

from dormouse_api.conditions import ConditionType
from dormouse_api.names import COMPONENT_PULL, LABEL_COMPONENT, LABEL_MODEL
from tests.e2e.cluster import Object
from tests.e2e.samples import MIB, model
from tests.e2e.story import Story, condition

PLACES = 2
"""The chart's maxConcurrentPulls."""
SIZE = 8 * MIB
RATE = 128 * 1024
"""Bytes a second: a minute for each of them, in which five are inspected and stand in line."""


def _pulls(item: Object) -> bool:
    mine = item["metadata"].get("labels", {}).get(LABEL_COMPONENT) == COMPONENT_PULL
    return mine and item["status"].get("phase") not in ("Succeeded", "Failed")


async def _slow(story: Story) -> None:
    """The hub is slow with all of this story's weights."""
    weights = rf"-{story.name('').removeprefix('-')}/resolve/.*safetensors"
    await story.faults({"kind": "slow", "path": weights, "rate": RATE, "times": None})


async def _apply(story: Story, base: str) -> str:
    repo = await story.publish(base, SIZE)
    await story.apply(model(story.name(base), repo))
    return story.name(base)


async def _stands(story: Story, name: str, position: int, of: int, seconds: float = 90) -> Object:
    def there(item: Object) -> bool:
        queue = item.get("status", {}).get("queue") or {}
        return (queue.get("position"), queue.get("of")) == (position, of)

    return await story.seen(name, f"position {position} of {of}", there, seconds)


async def _pulling(story: Story, name: str) -> None:
    await story.pod(name, COMPONENT_PULL)
    found = await story.seen(
        name, "Pulling", lambda item: condition(item, ConditionType.MODEL_PULLED).reason == "Pulling"
    )
    assert "queue" not in found["status"]


async def test_two_are_pulled_and_three_stand_in_a_line(story: Story) -> None:
    await _slow(story)
    async with story.pods_counted(_pulls) as counts:
        first, second = [await _apply(story, base) for base in ("first", "second")]
        for name in (first, second):
            await _pulling(story, name)
        third, fourth, fifth = [await _apply_and_stand(story, base, n) for n, base in enumerate(("c", "d", "e"), 1)]
        await _stands(story, third, 1, 3)
        waits = await _stands(story, fourth, 2, 3)
        told = condition(waits, ConditionType.MODEL_PULLED)
        assert (told.status, told.reason) == ("False", "Queued")
        assert f"position 2 of 3 in the line for one of {PLACES} pulls: after {story.namespace}/{third}" in told.message
        assert waits["status"]["progress"] == "queued 2/3"

        await story.cluster.patch("inferencemodels", story.namespace, fifth, {"spec": {"priority": 5}})
        await _stands(story, fifth, 1, 3)
        await _stands(story, third, 2, 3)
        assert max(counts) == PLACES, "nobody who is pulled is stopped for a higher priority"

        await story.cluster.delete("inferencemodels", story.namespace, first)
        await _pulling(story, fifth)
        await _stands(story, third, 1, 2)
        await story.cluster.until(
            "pods", story.namespace, lambda items: _none_of(items, first), f"{first} is cancelled"
        )

        await story.faults()
        for name in (second, fifth, third, fourth):
            await story.ready(name, "ScaledToZero", seconds=180)
        assert max(counts) == PLACES


async def _apply_and_stand(story: Story, base: str, position: int) -> str:
    name = await _apply(story, base)
    await _stands(story, name, position, position)
    return name


def _none_of(items: list[Object], name: str) -> bool:
    return not [item for item in items if item["metadata"].get("labels", {}).get(LABEL_MODEL) == name]
