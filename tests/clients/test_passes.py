"""What tests/e2e/test_sdks.py asks of real engines, asked of scripted ones, awake and asleep."""

import pytest

from tests.clients import passes
from tests.clients.world import ALIAS, BOTH, CHAT, EMBED, SLEEPER, World


@pytest.mark.parametrize("ask", [passes.by_openai, passes.by_ollama, passes.by_anthropic])
async def test_a_chat_model(router: World, ask: "passes.Pass") -> None:
    router.sleeps()
    for name in (CHAT, ALIAS, SLEEPER, BOTH):
        assert await ask(router.url, name) == passes.PARIS


async def test_an_embedding_model(router: World) -> None:
    assert await passes.of_embeddings(router.url, EMBED) == 2


@pytest.mark.slow
async def test_langchain(router: World) -> None:
    router.sleeps()
    assert await passes.by_langchain(router.url, SLEEPER, EMBED) == passes.expected_of_langchain(embeddings=True)
