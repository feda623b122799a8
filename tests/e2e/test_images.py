"""Pictures on the real cluster: a diffusers repository sleeps, is called by OpenAI's own client, wakes, and draws."""

import asyncio
import base64

import httpx
import openai
import pytest

from tests.e2e.samples import model
from tests.e2e.story import ROUTER, Story, sdk
from tests.png import opened

WAKE_SECONDS = 240
STEPS = 2


async def drawn(client: openai.AsyncOpenAI, name: str, *, seed: int, size: str = "64x64", n: int = 1) -> list[bytes]:
    """The pictures of one call."""
    answer = await client.images.generate(
        model=name,
        prompt="a mouse asleep",
        n=n,
        size=size,
        extra_body={"seed": seed, "steps": STEPS},
    )
    return [base64.b64decode(item.b64_json or "") for item in answer.data or ()]


async def idle(http: httpx.AsyncClient, name: str) -> bool:
    """Whether the model's engine tells that it has nothing to do."""
    engines = (await http.get("/metrics/gpu")).json()["engines"]
    mine = [engine for engine in engines if engine["model"] == name]
    return [(each["requests_running"], each["requests_waiting"]) for each in mine] == [(0, 0)]


@pytest.mark.timeout(480)
async def test_a_sleeping_pipeline_wakes_and_draws(story: Story) -> None:
    name = story.name("draws")
    await story.apply(model(name, "dormouse/tiny-diffusion", profile="cpu"))
    asleep = await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    assert asleep["status"]["capabilities"] == ["image"]
    async with sdk(seconds=WAKE_SECONDS) as client:
        with pytest.raises(openai.BadRequestError, match="does not support text generation"):
            await client.chat.completions.create(model=name, messages=[{"role": "user", "content": "hi"}])
        assert await story.runtime_pods(name) == []
        [first] = await drawn(client, name, seed=7)
        width, height, rows = opened(first)
        assert (width, height) == (64, 64)
        assert len(set(rows)) > 16  # not one colour
        again, other = await drawn(client, name, seed=7), await drawn(client, name, seed=8)
        assert again == [first]
        assert other != [first]
        both = await drawn(client, name, seed=7, n=2)
        assert both == [first, *other]
        streamed = await client.images.generate(
            model=name, prompt="a mouse asleep", size="auto", stream=True, extra_body={"seed": 7, "steps": STEPS}
        )
        events = [event async for event in streamed]
        assert [event.type for event in events] == ["image_generation.completed"]
        assert [base64.b64decode(event.b64_json) for event in events] == [first]
        [wide] = await drawn(client, name, seed=7, size="96x48")
        assert opened(wide)[:2] == (96, 48)
        with pytest.raises(openai.BadRequestError, match="both sides must be multiples of 8: ask for 64x64") as refused:
            await drawn(client, name, seed=7, size="65x65")
        assert refused.value.param == "size"
    awake = await story.seen(name, "an engine", lambda item: "engine" in item["status"])
    assert awake["status"]["engine"]["name"] == "diffusers"
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        shown = (await http.get(f"/models/{name}")).json()
        assert (shown["backend"], shown["state"]) == ("diffusers", "awake")
        async with asyncio.timeout(60):  # a pod has a second to answer: a busy one is asked again
            while not await idle(http, name):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        slept = await http.post("/api/generate", json={"model": name, "keep_alive": 0})
        assert slept.json()["done_reason"] == "unload", slept.text
    await story.asleep(name)
