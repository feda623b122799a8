"""Story 6, continued: what the SDKs do with scripted engines they do with real vLLM, asleep and awake."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.clients import passes
from tests.clients.npm import EXPECTED, differing, run
from tests.e2e.cluster import Cluster
from tests.e2e.samples import model
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"
WAKE_SECONDS = 240


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


async def put_to_sleep(cluster: Cluster, story: Story) -> None:
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        await http.post("/api/generate", json={"model": NAME, "keep_alive": 0})
    await Story(cluster, story.hub, "default", "").asleep(NAME)


async def test_openai_asleep_and_awake(cluster: Cluster, story: Story) -> None:
    await put_to_sleep(cluster, story)
    for name in (NAME, ALIAS):
        assert await passes.by_openai(ROUTER, name) == passes.PARIS


@pytest.mark.parametrize("ask", [passes.by_ollama, passes.by_anthropic])
async def test_ollama_and_anthropic(ask: passes.Pass) -> None:
    for name in (NAME, ALIAS):
        assert await ask(ROUTER, name) == passes.PARIS


async def test_langchain_asleep_and_awake(cluster: Cluster, story: Story) -> None:
    await put_to_sleep(cluster, story)
    assert await passes.by_langchain(ROUTER, NAME) == passes.expected_of_langchain(embeddings=False)


@pytest.mark.timeout(600)
async def test_embeddings(story: Story) -> None:
    name = story.name("embed")
    await story.apply(model(name, "dormouse/tiny-embed", profile="cpu"))
    await story.ready(name, "ScaledToZero", seconds=WAKE_SECONDS)
    assert await passes.of_embeddings(ROUTER, name) == 2
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=60) as http:
        asked = {"model": name, "query": "a mouse", "documents": ["a dormouse", "a mouse"]}
        ranked = await http.post("/v1/rerank", json=asked)
        assert ranked.status_code == 200, ranked.text
        assert [found["index"] for found in ranked.json()["results"]] == [1, 0], "the same text comes first"
        scored = await http.post("/v1/score", json={"model": name, "text_1": "a mouse", "text_2": asked["documents"]})
        assert scored.status_code == 200, scored.text
        other, same = (row["score"] for row in scored.json()["data"])
        assert other < same
        made = (await http.post("/tokenize", json={"model": name, "prompt": "a mouse"})).json()
        assert made["count"] == len(made["tokens"]) > 0
        back = await http.post("/detokenize", json={"model": name, "tokens": made["tokens"]})
        assert "mouse" in back.json()["prompt"]


@pytest.mark.parametrize("script", EXPECTED)
async def test_clients_from_npm(cluster: Cluster, story: Story, tmp_path: Path, script: str) -> None:
    await put_to_sleep(cluster, story)
    found = await asyncio.to_thread(run, tmp_path, script, ROUTER, NAME, ALIAS)
    assert differing(script, found) == {}
