"""The least that works on batches, in this process: one line after the other, through the router."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

import httpx

from dormouse_router.batch.answers import answered, request_id
from dormouse_router.batch.duties import Taking, perform
from dormouse_router.batch.lifecycle import Batch, Usage
from dormouse_router.batching import Answer, Chunk, Work
from dormouse_router.settings import Settings

SECONDS, HOLDER = 60.0, "runner"


class Runner:
    """`step` does one thing, if there is one to do."""

    def __init__(self, work: Work, client: httpx.AsyncClient, settings: Settings) -> None:
        self._work, self._client = work, client
        self._taking = Taking(self._serves, settings.batch_mixed, settings.batch_scores, settings.batch_lines)
        self._turn = asyncio.Lock()
        self.asked = 0
        self.resting = False
        """Nothing is done in the background."""

    async def at_rest(self) -> None:
        """What it was doing is done."""
        async with self._turn:
            pass

    async def step(self) -> bool:
        """Whether there was anything to do."""
        async with self._turn:
            return await self._step()

    async def _step(self) -> bool:
        await self._work.renew(HOLDER, [], [], SECONDS)
        if (duty := await self._work.take(HOLDER, SECONDS)) is not None:
            await perform(self._work, duty, self._taking)
            return True
        if (chunk := await self._work.claim(HOLDER, SECONDS)) is not None:
            await self._work.flush(chunk, await self._answers(chunk))
            return True
        return False

    async def _serves(self, _: Batch, name: str) -> bool:
        return (await self._client.get(f"/v1/models/{name}")).status_code == 200

    async def _answers(self, chunk: Chunk) -> list[Answer]:
        made: list[Answer] = []
        for line in chunk.lines:
            stop = line.offset + line.length
            asked = json.loads(b"".join([each async for each in self._work.read(chunk.batch, line.offset, stop)]))
            found = await self._client.post(asked["url"], json=asked["body"])
            self.asked += 1
            body, ident = found.json(), found.headers["x-request-id"]
            whose, named = request_id(chunk.batch.id, line.number), json.dumps(asked["custom_id"]).encode()
            text = answered(whose, named, found.status_code, ident, json.dumps(body).encode())
            made.append(Answer(line.place, text, found.status_code != 200, _usage(body)))
        return made


def _usage(body: dict[str, dict[str, int]]) -> Usage:
    said = body.get("usage") or {}
    return Usage(input=said.get("prompt_tokens", 0), output=said.get("completion_tokens", 0))


@contextlib.asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[None]:
    """It works in the background."""

    async def work() -> None:
        while True:
            if runner.resting or not await runner.step():
                await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
