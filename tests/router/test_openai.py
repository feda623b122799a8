"""OpenAI's API over a real socket: chats of waking models, streamed and not, by the real SDK."""

from typing import Any

import httpx
import openai

from tests.router.fakes import Engine, Stage, until

CHAT: dict[str, Any] = {"model": "tiny", "messages": [{"role": "user", "content": "Capital of France?"}]}


async def test_a_chat_to_a_sleeping_model_wakes_it(world: Stage, client: httpx.AsyncClient, engine: Engine) -> None:
    world.cluster.add_model()
    await until(lambda: world.router.plane.catalog.find("tiny") is not None)
    world.wake_with(engine)
    answer = await client.post("/v1/chat/completions", json=CHAT)
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["message"]["content"] == "Paris."
    assert answer.headers["x-dormouse-model"] == "default/tiny"
    assert answer.headers["x-dormouse-commit"] == "c0ffee"
    assert int(answer.headers["x-dormouse-hold-ms"]) >= 0
    assert [name for _, name, _ in world.cluster.writes] == ["tiny-runtime"]


async def test_the_sdk_streams_and_does_not(world: Stage, engine: Engine) -> None:
    world.cluster.add_model()
    world.ready(engine)
    await until(
        lambda: (
            world.router.plane.awake(world.router.plane.find("tiny")) if world.router.catalog.find("tiny") else False
        )
    )
    async with openai.AsyncOpenAI(base_url=f"{world.url}/v1", api_key="none", max_retries=0) as sdk:
        whole = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"])
        assert whole.choices[0].message.content == "Paris."
        stream = await sdk.chat.completions.create(model="tiny", messages=CHAT["messages"], stream=True)
        words = [chunk.choices[0].delta.content async for chunk in stream]
    assert words == ["Par", "is", ".", ""]
