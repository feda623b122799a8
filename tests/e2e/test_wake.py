"""Story 3: a call wakes a sleeping model, many calls wake it once, and it falls asleep again."""

import asyncio
import time

from dormouse_api.names import LABEL_MODEL
from tests.e2e.cluster import Object
from tests.e2e.samples import FRANCE, PARIS, model
from tests.e2e.story import Story, chat, component, streamed

IDLE = 6
CALLERS = 20
COUNT = "Count to twenty."
"""A long answer: vLLM puts words together for a reader who is behind, and a short one whole."""


async def test_callers_of_a_sleeping_model_share_one_wake(story: Story) -> None:
    """Through vLLM, with trained words."""
    name = story.name("chat")
    scaling = {"idleSeconds": IDLE}
    engine = {"maxModelLen": 512}
    await story.apply(model(name, "dormouse/tiny-chat", profile="cpu", scaling=scaling, engine=engine))
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen:
        calls = [chat(name, FRANCE) for _ in range(CALLERS - 1)]
        pieces, *answers = await asyncio.gather(streamed(name, COUNT), *calls)
        ended = time.monotonic()
        serving = await story.seen(name, "a recorded start", lambda item: item["status"].get("coldStarts"))
        assert "".join(pieces).startswith("1, 2, 3")
        assert len(pieces) > 1, "the stream came in one piece"
        assert answers == [PARIS] * (CALLERS - 1)
        assert serving["status"]["engine"]["name"] == "vllm"
        slept = await story.asleep(name)
        assert slept - ended >= IDLE - 1
        assert len(component(seen["pods"], name, "runtime")) == 1
    (start,) = serving["status"]["coldStarts"]
    stages = [entry["stage"] for entry in start["stages"]]
    assert (stages[0], stages[-1]) == ("requested", "ready")
    assert "loading" in stages


async def test_call_while_the_model_falls_asleep(story: Story) -> None:
    name = await story.scripted("dozing", scaling={"idleSeconds": 1})
    await story.ready(name, "ScaledToZero")
    assert await chat(name, FRANCE) == PARIS

    def leaving(items: list[Object]) -> bool:
        mine = [item for item in items if item["metadata"].get("labels", {}).get(LABEL_MODEL) == name]
        return any("deletionTimestamp" in item["metadata"] for item in mine)

    await story.cluster.until("pods", story.namespace, leaving, f"{name}: a pod that leaves")
    assert await chat(name, FRANCE) == PARIS
    await story.asleep(name)


async def test_calls_keep_a_model_awake(story: Story) -> None:
    """A stream that outlasts the idle time is not cut, and the sleep is counted from its end."""
    name = await story.scripted("busy", scaling={"idleSeconds": 2})
    await story.ready(name, "ScaledToZero")
    async with story.recorded("pods") as seen:
        pieces = await streamed(name, "!slow 60 tokens 100ms")
        ended = time.monotonic()
        assert len(pieces) == 60
        slept = await story.asleep(name)
        assert slept - ended >= 1.5
        assert len(component(seen["pods"], name, "runtime")) == 1


async def test_min_replicas_keep_a_model_awake(story: Story) -> None:
    name = await story.scripted("awake", scaling={"minReplicas": 1, "idleSeconds": 1})
    await story.ready(name, "Serving")
    assert len(await story.runtime_pods(name)) == 1
    patch = {"spec": {"scaling": {"minReplicas": 0}}}
    await story.cluster.patch("inferencemodels", story.namespace, name, patch)
    await story.asleep(name)
    await story.ready(name, "ScaledToZero")
