"""Story 6: a trained model holds a two-step conversation with a tool, through real vLLM, in every dialect."""

import httpx
import pytest

from tests.clients.talks import BY_DIALECT, WEATHER_SAID
from tests.e2e.cluster import Cluster
from tests.e2e.story import ROUTER, Story
from tests.e2e.test_quickstart import applied

NAME = "tiny-chat"
ALIAS = "tiny"


@pytest.fixture(autouse=True)
def quickstart(testbed: object) -> None:
    applied()


async def test_of_a_model_that_sleeps(cluster: Cluster, story: Story) -> None:
    home = Story(cluster, story.hub, "default", "")
    async with httpx.AsyncClient(base_url=ROUTER, trust_env=False, timeout=30) as http:
        await http.post("/api/generate", json={"model": NAME, "keep_alive": 0})
    await home.asleep(NAME)
    assert await BY_DIALECT["openai"](ROUTER, NAME, True) == WEATHER_SAID


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", BY_DIALECT)
async def test_a_two_step_tool_conversation(dialect: str, streamed: bool) -> None:
    assert await BY_DIALECT[dialect](ROUTER, ALIAS, streamed) == WEATHER_SAID
