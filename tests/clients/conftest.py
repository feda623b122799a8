"""One router for all of these tests: none of them changes what another one relies on. And the SDKs, in both forms.

A test that takes an SDK is told twice: with the asynchronous client, and with the blocking one behind the same face.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import openai
import pytest
import pytest_asyncio

from tests.clients.blocking import Blocking
from tests.clients.world import World, world

BOTH_FORMS = ("async", "sync")


@pytest.fixture(scope="session")
def router() -> Iterator[World]:
    """A router with models of every kind, on a thread of its own."""
    with world() as running:
        yield running


@contextlib.asynccontextmanager
async def openai_client(url: str, form: str, *, strict: bool = True) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client in the form asked for, without retries: the first answer counts."""
    wish: dict[str, Any] = {"base_url": url, "api_key": "none", "max_retries": 0, "timeout": 20}
    wish["_strict_response_validation"] = strict
    if form == "sync":
        with openai.OpenAI(**wish) as blocking:
            yield cast("openai.AsyncOpenAI", Blocking(blocking))
    else:
        async with openai.AsyncOpenAI(**wish) as client:
            yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_FORMS)
async def sdk(router: World, request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, strict: an answer that is not of the SDK's own types is an error."""
    async with openai_client(router.openai, request.param) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=BOTH_FORMS)
async def lenient(router: World, request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client as programs have it, for what its strictness would refuse from OpenAI, too."""
    async with openai_client(router.openai, request.param, strict=False) as client:
        yield client
