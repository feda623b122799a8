"""A two-step conversation with a tool in every dialect, as tests/e2e/test_tools.py holds it with a trained model."""

import pytest

from tests.clients.talks import BY_DIALECT, WEATHER_SAID
from tests.clients.world import ALIAS, SLEEPER_ALIAS, World


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", BY_DIALECT)
async def test_a_two_step_tool_conversation(router: World, dialect: str, streamed: bool) -> None:
    assert await BY_DIALECT[dialect](router.url, ALIAS, streamed) == WEATHER_SAID


async def test_with_a_model_that_sleeps(router: World) -> None:
    for hold in BY_DIALECT.values():
        router.sleeps()
        assert await hold(router.url, SLEEPER_ALIAS, False) == WEATHER_SAID
