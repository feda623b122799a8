"""Anthropic's clients call a route as they call a model: its defaults, its provenance, its place in the list."""

import json
from typing import Any

import anthropic
import httpx
import pytest

from tests.engine.engine import Engine
from tests.router.fakes import Stage, until

QUESTION: Any = {"role": "user", "content": "What is the capital of France?"}
WISH: dict[str, Any] = {"model": "polite", "max_tokens": 50, "messages": [QUESTION]}


@pytest.fixture
async def polite(world: Stage, played: Engine) -> Engine:
    """The engine behind a route with a system prompt and a temperature of its own."""
    defaults = {"system": "Be polite.", "temperature": 0.25, "stop": ["END"]}
    world.cluster.add_route("polite", ("tiny-chat", 1), defaults=defaults, sticky={"by": "User"})
    await until(lambda: world.router.catalog.routes.get(("default", "polite")) is not None)
    return played


async def test_a_routes_defaults_are_those_of_its_messages(client: httpx.AsyncClient, polite: Engine) -> None:
    answer = await client.post("/v1/messages", json=WISH)
    assert answer.json()["content"] == [{"type": "text", "text": "Paris."}]
    assert (answer.json()["model"], answer.headers["x-dormouse-route"]) == ("polite", "default/polite")
    sent = json.loads(polite.api.requests[-1]["body"])
    assert (sent["model"], sent["temperature"], sent["stop"]) == ("tiny-chat", 0.25, ["END"])
    assert sent["messages"][0] == {"role": "system", "content": "Be polite."}
    own = {**WISH, "system": "Be rude.", "temperature": 1, "stop_sequences": ["FIN"]}
    await client.post("/v1/messages", json=own)
    sent = json.loads(polite.api.requests[-1]["body"])
    assert (sent["messages"][0]["content"], sent["temperature"], sent["stop"]) == ("Be rude.", 1, ["FIN"])


async def test_a_routes_own_prompt_is_counted(sdk: anthropic.AsyncAnthropic, polite: Engine) -> None:
    counted = await sdk.messages.count_tokens(model="polite", messages=[QUESTION])
    plain = await sdk.messages.count_tokens(model="tiny", messages=[QUESTION])
    assert counted.input_tokens == plain.input_tokens + 3
    assert len(polite.api.requests) == 2


@pytest.mark.usefixtures("polite")
async def test_a_route_is_listed(sdk: anthropic.AsyncAnthropic) -> None:
    assert {model.id async for model in sdk.models.list()} == {"tiny-chat", "polite"}
    assert (await sdk.models.retrieve("polite")).max_input_tokens == 2048
