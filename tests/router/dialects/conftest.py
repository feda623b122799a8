"""The ollama SDK on the running router, and a model that is awake."""

from collections.abc import AsyncIterator

import ollama
import pytest

from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.records import model
from tests.router.fakes import Engine, Stage


@pytest.fixture
async def sdk(world: Stage) -> AsyncIterator[ollama.AsyncClient]:
    """The unmodified SDK."""
    async with ollama.AsyncClient(host=world.url, timeout=20) as client:
        yield client


@pytest.fixture
async def serving(world: Stage, make_engine: MakeEngine) -> Engine:
    """An engine that says "Paris." behind the model tiny-chat, alias tiny; a test may change what it says."""
    engine = await make_engine(engines.paris)
    world.cluster.add_model(model(aliases=["tiny", "Org/Tiny"]))
    world.ready(engine, name="tiny-chat")
    await engines.awake(world)
    return engine
