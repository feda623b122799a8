"""Predictions by Replicate's own client, through a model that sleeps, real vLLM and the router's database."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from tests.e2e.cluster import Cluster
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
FULL = f"default/{NAME}"
ASK = {"prompt": "What is the capital of France?", "max_tokens": 20, "temperature": 0}


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


@pytest.fixture
def sdk() -> Iterator[Client]:
    made = Client(api_token="e2e", base_url=ROUTER, trust_env=False)
    yield made
    made._client.close()


async def test_a_prediction_of_a_model_that_sleeps(cluster: Cluster, story: Story, sdk: Client) -> None:
    """It wakes, is polled meanwhile, and is as the stream tells it afterwards."""
    home = Story(cluster, story.hub, "default", "")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=120) as http:
        await http.post("/api/generate", json={"model": NAME, "keep_alive": 0})
    await home.asleep(NAME)
    made = await asyncio.to_thread(lambda: sdk.models.predictions.create(FULL, ASK))
    assert (made.status, made.model) == ("starting", FULL)
    await asyncio.to_thread(made.wait)
    assert (made.status, made.error) == ("succeeded", None)
    assert made.output
    assert made.metrics is not None
    assert made.metrics["output_token_count"] > 0
    told = await asyncio.to_thread(lambda: [event.data for event in made.stream() if event.event.value == "output"])
    assert told == made.output
    assert FULL in (made.logs or "")
    again = await asyncio.to_thread(lambda: sdk.run(FULL, ASK))
    assert "".join(again) == "".join(made.output)
    listed = await asyncio.to_thread(sdk.predictions.list)
    assert made.id in [each.id for each in listed]


async def test_a_webhook_into_the_cluster_is_refused(sdk: Client) -> None:
    with pytest.raises(ReplicateError) as refused:
        await asyncio.to_thread(
            lambda: sdk.models.predictions.create(FULL, ASK, webhook="https://kubernetes.default.svc:443@10.0.0.1/")
        )
    assert refused.value.status == 422
