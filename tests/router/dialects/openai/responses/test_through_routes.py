"""Responses by a route: its defaults, its name, its provenance, and a chain that goes on by it."""

import json
from typing import Any

import httpx
import pytest

from tests.engine.engine import Engine
from tests.router.fakes import Stage, until

URL = "/v1/responses"
ASK: dict[str, Any] = {"model": "polite", "input": "What is the capital of France?"}


@pytest.fixture
async def polite(world: Stage, played: Engine) -> Engine:
    """The engine behind a route with a system prompt and a temperature of its own."""
    defaults = {"system": "Be polite.", "temperature": 0.25, "stop": ["END"], "maxTokens": 40}
    world.cluster.add_route("polite", ("tiny-chat", 1), defaults=defaults)
    await until(lambda: world.router.catalog.routes.get(("default", "polite")) is not None)
    return played


def sent(engine: Engine) -> Any:
    return json.loads(engine.api.requests[-1]["body"])


async def test_a_routes_defaults_are_those_of_its_responses(client: httpx.AsyncClient, polite: Engine) -> None:
    answer = await client.post(URL, json=ASK)
    given = answer.json()
    assert (given["model"], answer.headers["x-dormouse-route"]) == ("polite", "default/polite")
    assert (given["temperature"], given["top_p"], given["instructions"]) == (0.25, 1.0, None)
    asked = sent(polite)
    assert (asked["model"], asked["temperature"], asked["stop"], asked["max_tokens"]) == (
        "tiny-chat",
        0.25,
        ["END"],
        40,
    )
    assert asked["messages"][0] == {"role": "system", "content": "Be polite."}
    own = ASK | {"instructions": "Be rude.", "temperature": 1, "max_output_tokens": 9}
    assert (await client.post(URL, json=own | {"previous_response_id": given["id"]})).json()["temperature"] == 1
    asked = sent(polite)
    assert (asked["messages"][0]["content"], asked["temperature"], asked["max_tokens"]) == ("Be rude.", 1, 9)
    assert [message["role"] for message in asked["messages"]] == ["system", "user", "assistant", "user"]


async def test_a_routes_own_prompt_is_counted(client: httpx.AsyncClient, polite: Engine) -> None:
    counts = [
        (await client.post(f"{URL}/input_tokens", json=ASK | {"model": name})).json()["input_tokens"]
        for name in ("polite", "tiny")
    ]
    assert counts[0] == counts[1] + 3
    assert len(polite.api.requests) == 2
