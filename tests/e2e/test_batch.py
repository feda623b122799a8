"""A batch on a model that sleeps: woken by it, and every line answered once, whatever dies meanwhile."""

import asyncio
import io
import json
from collections import Counter
from typing import Any, Literal

import openai

from tests.e2e.cluster import Object
from tests.e2e.disasters import SYSTEM
from tests.e2e.samples import FRANCE, PARIS
from tests.e2e.shell import kubectl
from tests.e2e.story import Story, component, sdk

LINES = 400
SLOW = "!slow 20 tokens 100ms"
CHAT: Literal["/v1/chat/completions"] = "/v1/chat/completions"
END_SECONDS = 240.0
STOP = "import os, signal; os.kill(1, signal.SIGTERM); os._exit(0)"
"""At once: who is still there when the container ends is killed, and that is an error of kubectl's."""
ENDS = ("completed", "failed", "expired", "cancelled")


def lines(name: str, count: int) -> bytes:
    """Every fourth takes two seconds."""
    made = [
        {
            "custom_id": f"r-{number}",
            "method": "POST",
            "url": CHAT,
            "body": {"model": name, "messages": [{"role": "user", "content": FRANCE if number % 4 else SLOW}]},
        }
        for number in range(count)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in made)


async def asked(attempt: Any) -> Any:
    """What `attempt` gives, once a router that restarts is there again."""
    async with asyncio.timeout(END_SECONDS):
        while True:
            try:
                return await attempt()
            except (openai.APIConnectionError, openai.InternalServerError):
                await asyncio.sleep(0.5)


async def begun(client: openai.AsyncOpenAI, text: bytes) -> str:
    file = await client.files.create(file=("lines.jsonl", io.BytesIO(text)), purpose="batch")
    batch = await client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    return batch.id


async def until(client: openai.AsyncOpenAI, batch: str, holds: Any) -> Any:
    async with asyncio.timeout(END_SECONDS):
        while True:
            seen = await asked(lambda: client.batches.retrieve(batch))
            if holds(seen):
                return seen
            await asyncio.sleep(0.3)


def restarts(pods: list[Object], name: str) -> int:
    """Of the container `name` of the router's pod."""
    return sum(
        status["restartCount"]
        for pod in pods
        if pod["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "router"
        for status in pod["status"].get("containerStatuses", [])
        if status["name"] == name
    )


async def restarted(story: Story, container: str) -> None:
    """End a container of the router's pod as the cluster does; its volume stays. Returns once there is another."""
    before = restarts(await story.cluster.find("pods", SYSTEM), container)
    command = ("exec", "-n", SYSTEM, "deploy/dormouse-router", "-c", container, "--", "python3", "-c", STOP)
    await asyncio.to_thread(kubectl, *command)
    again = f"{container} starts again"
    await story.cluster.until("pods", SYSTEM, lambda pods: restarts(pods, container) > before, again, END_SECONDS)


async def test_a_batch_wakes_its_model_and_answers_every_line_once_whoever_dies(story: Story) -> None:
    # longer than a container takes to come back: nobody renews the Lease meanwhile, and a second wake would be right
    name = await story.scripted("batched", scaling={"idleSeconds": 60})
    await story.ready(name, "ScaledToZero")
    async with sdk() as client, story.recorded("pods") as seen:
        batch = await begun(client, lines(name, LINES))
        await until(client, batch, lambda now: now.request_counts.completed > 0)
        # the engine first, while there certainly is one: a quick machine may be done before the others are back
        pod: Object = await story.pod(name, "runtime")
        await story.cluster.delete("pods", story.namespace, pod["metadata"]["name"], grace=0)
        await restarted(story, "worker")
        await restarted(story, "router")
        ended = await until(client, batch, lambda now: now.status in ENDS)
        assert ended.status == "completed", ended
        assert (ended.request_counts.total, ended.request_counts.completed) == (LINES, LINES)
        assert ended.error_file_id is None
        text = (await asked(lambda: client.files.content(ended.output_file_id))).text
    found = [json.loads(line) for line in text.splitlines()]
    assert Counter(line["custom_id"] for line in found) == Counter(f"r-{number}" for number in range(LINES))
    quick = [line for line in found if int(line["custom_id"][2:]) % 4]
    assert {line["response"]["body"]["choices"][0]["message"]["content"] for line in quick} == {PARIS}
    assert len(component(seen["pods"], name, "runtime")) <= 3, "one wake, and a new pod for the one that was killed"


async def test_models_of_one_file_are_all_answered(story: Story) -> None:
    names = [await story.scripted(base, scaling={"idleSeconds": 10}) for base in ("mixed-a", "mixed-b")]
    for name in names:
        await story.ready(name, "ScaledToZero")
    text = b"".join(lines(name, 20).replace(b'"r-', f'"{name}-'.encode()) for name in names)
    async with sdk() as client:
        ended = await until(client, await begun(client, text), lambda now: now.status in ENDS)
        assert (ended.status, ended.request_counts.completed) == ("completed", 40)
    for name in names:
        item = await story.seen(name, "a recorded start", lambda item: item["status"].get("coldStarts"))
        assert len(item["status"]["coldStarts"]) == 1, "each is woken once"
        await story.asleep(name)
