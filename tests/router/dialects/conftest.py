"""The ollama SDK on the running router."""

from collections.abc import AsyncIterator

import ollama
import pytest

from tests.router.fakes import Stage


@pytest.fixture
async def sdk(world: Stage) -> AsyncIterator[ollama.AsyncClient]:
    """The unmodified SDK."""
    async with ollama.AsyncClient(host=world.url, timeout=20) as client:
        yield client
