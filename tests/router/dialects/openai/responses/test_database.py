"""Answers in a real database: they outlive their router, and any router on it goes on from them."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from dormouse_router.keeping import Keeping
from dormouse_router.request import Refusal
from dormouse_router.store.opening import open_store
from tests.router.conftest import MakeEngine
from tests.router.dialects import engines
from tests.router.dialects.openai.responses.test_background import ended
from tests.router.fakes import DEADLINE, SETTINGS, Engine, stage

ASK: dict[str, Any] = {"model": "tiny", "input": "Capital of France?"}


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/router.db"


@pytest.fixture
async def answering(make_engine: MakeEngine) -> Engine:
    return await make_engine(engines.paris)


async def reached(keeping: Keeping) -> None:
    """Until the database can be used: a router does not wait for it."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(Refusal):
                await keeping.responses.get("", "")
                return
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def client_of(database: str, engine: Engine) -> AsyncIterator[openai.AsyncOpenAI]:
    """The SDK on a router of its own, started on `database`."""
    async with (
        open_store(dataclasses.replace(SETTINGS, database_url=database)) as keeping,
        stage(keeping) as world,
        openai.AsyncOpenAI(
            base_url=f"{world.url}/v1", api_key="any", max_retries=0, _strict_response_validation=True
        ) as sdk,
    ):
        await reached(keeping)
        await world.awake(engine)
        yield sdk


async def test_an_answer_outlives_its_router(database: str, answering: Engine) -> None:
    async with client_of(database, answering) as sdk:
        async with sdk.responses.stream(**ASK) as stream:
            first = await stream.get_final_response()
        made = await sdk.responses.create(**ASK, background=True, previous_response_id=first.id)
        second = await ended(sdk, made.id)
    async with client_of(database, answering) as sdk:
        assert (await sdk.responses.retrieve(second.id)).to_dict() == second.to_dict()
        stream = await sdk.responses.create(**ASK, stream=True, previous_response_id=second.id)
        assert [event async for event in stream][-1].type == "response.completed"
        said = [message["role"] for message in answering.seen[-1].json["messages"]]
        assert said == ["user", "assistant", "user", "assistant", "user"]
        assert len([item async for item in sdk.responses.input_items.list(second.id)]) == 1
        await sdk.responses.delete(first.id)
        with pytest.raises(openai.BadRequestError, match="or one before it is not kept any more"):
            await sdk.responses.create(**ASK, previous_response_id=second.id)
