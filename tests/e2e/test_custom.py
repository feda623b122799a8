"""A Python class on the real cluster: the sample of manifests/samples/custom, as an administrator has it."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from tests.e2e.cluster import Cluster, Object
from tests.e2e.story import ROUTER, Story

SAMPLE = Path(__file__).parents[2] / "manifests" / "samples" / "custom"
IMAGE = "localhost/dormouse-house-prices:dev"
HOUSES = [{"area": 50, "rooms": 2}, {"area": 100, "rooms": 4}]
BASE, PER_METRE, PER_ROOM = 10_000.0, 2_000.0, 500.0
PRICES = [BASE + PER_METRE * house["area"] + PER_ROOM * house["rooms"] for house in HOUSES]
WAKE_SECONDS = 120


def weights() -> dict[str, bytes]:
    """What the sample's class loads."""
    head = json.dumps({"weights": {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]}}).encode()
    return {"model.safetensors": struct.pack("<Q", len(head)) + head + struct.pack("<3f", BASE, PER_METRE, PER_ROOM)}


def sample(name: str) -> Object:
    found: Object = yaml.safe_load((SAMPLE / name).read_text())
    return found


class Prices:
    """The sample's profile and models, in a story of their own."""

    def __init__(self, story: Story) -> None:
        self.story, self.cluster = story, story.cluster
        self.made: list[str] = []

    async def profile(self, base: str, **custom: Any) -> str:
        """The sample's profile under another name, on the image that was built here."""
        body = sample("profile.yaml")
        name = self.story.name(base)
        body["metadata"]["name"] = name
        body["spec"] |= {"image": IMAGE, "custom": body["spec"]["custom"] | custom}
        await self.cluster.create("runtimeprofiles", None, body)
        self.made.append(name)
        return name

    async def model(self, base: str, profile: str) -> str:
        """The sample's model on `profile`, with weights on the hub."""
        body, name = sample("model.yaml"), self.story.name(base)
        repo = f"e2e/{name}"
        await self.story.hub.publish(repo, weights())
        body["metadata"]["name"] = name
        body["spec"] |= {"profile": profile, "source": {"uri": f"hf://{repo}"}}
        await self.story.apply(body)
        return name


@pytest_asyncio.fixture(loop_scope="session")
async def prices(story: Story, cluster: Cluster) -> AsyncIterator[Prices]:
    made = Prices(story)
    yield made
    for name in made.made:
        await cluster.delete("runtimeprofiles", None, name)


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=WAKE_SECONDS) as client:
        yield client


def events(answer: httpx.Response) -> list[Any]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


@pytest.mark.timeout(300)
async def test_a_class_of_ones_own_sleeps_wakes_and_predicts(prices: Prices, http: httpx.AsyncClient) -> None:
    story, name = prices.story, await prices.model("prices", await prices.profile("prices"))
    asleep = await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    assert asleep["status"]["capabilities"] == ["predict"]
    url, body = f"/models/{name}/predict", {"input": {"houses": HOUSES}}
    assert (await http.get(f"/models/{name}")).json()["input_schema"] is None
    chat = await http.post("/v1/chat/completions", json={"model": name, "messages": [{"role": "user", "content": "x"}]})
    assert (chat.status_code, chat.json()["error"]["code"]) == (400, "model_not_supported")
    assert await story.runtime_pods(name) == []
    answer = await http.post(url, json=body)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["output"] == [{"price": price, "currency": "EUR"} for price in PRICES]
    assert told["model"] == name
    *pieces, last = events(await http.post(url, json=body | {"stream": True}))
    assert ([piece["output"]["price"] for piece in pieces], last["done"]) == (PRICES, True)
    await bad_inputs(http, url)
    both = await asyncio.gather(*(http.post(url, json=body) for _ in range(8)))
    assert {each.status_code for each in both} == {200}
    awake = await story.seen(name, "a schema", lambda item: "inputSchema" in item["status"].get("engine", {}))
    assert awake["status"]["engine"]["name"] == "custom"
    slept = await http.post("/api/generate", json={"model": name, "keep_alive": 0})
    assert slept.json()["done_reason"] == "unload", slept.text
    await story.asleep(name)
    async with asyncio.timeout(WAKE_SECONDS):  # the operator says so after its last pod has gone
        while (shown := (await http.get(f"/models/{name}")).json())["state"] != "asleep":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert shown["input_schema"]["properties"]["houses"]["maxItems"] == 1000


async def bad_inputs(http: httpx.AsyncClient, url: str) -> None:
    """Each in the native API's shape, with the place and what is wrong."""
    for given, status, param, words in (
        ({"houses": []}, 422, "input.houses", "non-empty"),
        ({"houses": [{"area": -1, "rooms": 2}]}, 422, "input.houses.0.area", "-1 is less than or equal to"),
        ({"houses": [{"area": 20, "rooms": 9}]}, 422, "input", "9 rooms do not fit 20 square metres"),
        ({}, 422, "input", "'houses' is a required property"),
    ):
        for stream in (False, True):
            answer = await http.post(url, json={"input": given, "stream": stream})
            assert (answer.status_code, answer.json()["param"]) == (status, param), answer.text
            assert words in answer.json()["error"]
    empty = await http.post(url, json={"houses": HOUSES})
    assert (empty.status_code, empty.json()["param"]) == (400, "input")


@pytest.mark.timeout(300)
async def test_a_class_that_cannot_load_says_so_in_its_own_words(prices: Prices, http: httpx.AsyncClient) -> None:
    """The caller and the condition have the exception, and the fix."""
    profile = await prices.profile("nocurrency", config={})
    name = await prices.model("nocurrency", profile)
    story = prices.story
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    answer = await http.post(f"/models/{name}/predict", json={"input": {"houses": HOUSES}})
    assert answer.status_code == 503, answer.text
    found = await story.failing(name)
    assert found.reason == "EngineFailed"
    for said in (found.message, answer.json()["error"]):
        assert "house_prices:Model.load raised KeyError: 'currency'" in said
        assert "spec.custom" in said
    await prices.cluster.patch("runtimeprofiles", None, profile, {"spec": {"custom": {"config": {"currency": "CHF"}}}})
    await story.ready(name, seconds=60)
    async with asyncio.timeout(WAKE_SECONDS):  # the router's own watch may be a moment behind the API server
        while (mended := await http.post(f"/models/{name}/predict", json={"input": {"houses": HOUSES}})).is_error:
            assert "currency" in mended.text, mended.text
            await asyncio.sleep(0.2)
    assert [house["currency"] for house in mended.json()["output"]] == ["CHF", "CHF"], mended.text
