"""The openai SDK, as strict as it can be, on a router with a scripted engine behind the model tiny."""

from collections.abc import AsyncIterator

import openai
import pytest

from dormouse_router.cluster import Resource
from tests.engine.engine import Engine, scripted
from tests.router.dialects import engines
from tests.router.dialects.records import known_status, model
from tests.router.fakes import Stage, slice_of

CAPABLE = known_status(capabilities=["completion", "embedding", "tools", "vision", "thinking"])


@pytest.fixture
async def sdk(world: Stage) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{world.url}/v1", api_key="any", max_retries=0, timeout=20, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
async def played(world: Stage) -> AsyncIterator[Engine]:
    """A scripted engine behind tiny-chat, alias tiny, which can do everything."""
    async with scripted("tiny-chat") as engine:
        world.cluster.add_model(model(aliases=["tiny"], status=CAPABLE))
        world.cluster.put(Resource.SLICES, slice_of("tiny-chat", engine.port))
        await engines.awake(world)
        yield engine
