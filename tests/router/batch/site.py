"""A router, batch workers and a store, in one process: what a batch meets from its upload to its files."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dormouse_router.batch.lifecycle import Batch, Status
from dormouse_router.batching import BatchDraft
from dormouse_router.filing import Draft
from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from dormouse_router.worker.crew import Crew
from dormouse_router.worker.process import taking
from dormouse_router.worker.settings import WorkerSettings
from tests.router.fakes import SETTINGS, Stage, stage, until

CHAT = "/v1/chat/completions"
OWNER = "ann"
DEADLINE = 60.0
NAME = "worker-1/" + "0" * 30


def line(number: int, model: str = "tiny", url: str = CHAT, **body: Any) -> bytes:
    asked = {"messages": [{"role": "user", "content": f"Line {number}"}]} if url == CHAT else {}
    whole = {"custom_id": f"r-{number}", "method": "POST", "url": url, "body": {"model": model, **asked, **body}}
    return json.dumps(whole).encode()


def lines(count: int, *models: str) -> bytes:
    """As many lines, of the models in turn."""
    names = models or ("tiny",)
    return b"".join(line(number, names[number % len(names)]) + b"\n" for number in range(count))


@dataclass
class Ended:
    """A batch that has ended, and its files."""

    batch: Batch
    output: list[dict[str, Any]]
    error: list[dict[str, Any]]

    def check(self, status: Status, ids: Sequence[str]) -> None:
        """It ended so, and every line is in one file exactly once."""
        counts = self.batch.counts
        assert self.batch.status is status, self.batch
        found = Counter(each["custom_id"] for each in (*self.output, *self.error))
        assert found == Counter(ids), found - Counter(ids)
        assert len({each["id"] for each in (*self.output, *self.error)}) == len(ids)
        assert (counts.total, counts.completed) == (len(ids), len(self.output))
        answered = [each for each in self.error if each["response"] is not None]
        assert counts.failed == len(answered)
        assert (self.batch.output_file_id is None) == (not self.output)
        assert (self.batch.error_file_id is None) == (not self.error)
        for each in self.output:
            assert each["response"]["status_code"] == 200
            assert each["error"] is None


def ids(count: int) -> list[str]:
    return [f"r-{number}" for number in range(count)]


@dataclass
class Site:
    """A router (`world`) and workers over one store."""

    world: Stage
    keeping: Keeping
    settings: Settings
    crews: list[tuple[Crew, asyncio.Event, "asyncio.Task[None]"]] = field(default_factory=list)

    def hire(self, name: int = 0, **settings: Any) -> Crew:
        """Another worker, at once at work; `name` is of sites that share a store."""
        assert self.keeping.work is not None
        chosen: dict[str, Any] = {"router_url": self.world.url, "drain": 5.0, **settings}
        rules = replace(WorkerSettings(), **chosen)
        holder = f"{NAME}{name:x}{len(self.crews):x}"
        crew = Crew(self.keeping.work, holder, rules, lambda serves: taking(self.settings, serves))
        stop = asyncio.Event()
        self.crews.append((crew, stop, asyncio.create_task(crew.run(stop))))
        return crew

    async def dismiss(self) -> None:
        """All workers stop as at SIGTERM."""
        for _, stop, _ in self.crews:
            stop.set()
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*(task for _, _, task in self.crews))
        self.crews.clear()

    async def create(self, text: bytes, url: str = CHAT, owner: str = OWNER) -> Batch:
        async with self.keeping.files.writing(owner, 2**30) as writer:
            await writer.write(text)
            record = await writer.commit(Draft(owner, "in.jsonl", "batch"))
        return await self.keeping.batches.create(BatchDraft(owner, url, record.id))

    async def see(self, batch: Batch) -> Batch:
        found = await self.keeping.batches.get(batch.id, batch.owner)
        assert found is not None
        return found

    async def ended(self, batch: Batch, seconds: float = DEADLINE) -> Ended:
        async with asyncio.timeout(seconds):
            while not (found := await self.see(batch)).ended:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.02)
        files = [await self._content(ident, batch.owner) for ident in (found.output_file_id, found.error_file_id)]
        return Ended(found, *files)

    async def run(self, text: bytes, url: str = CHAT) -> Ended:
        return await self.ended(await self.create(text, url))

    async def _content(self, ident: str | None, owner: str) -> list[dict[str, Any]]:
        if ident is None:
            return []
        record = await self.keeping.files.get(ident, owner)
        assert record is not None
        text = b"".join([piece async for piece in self.keeping.files.read(record)])
        assert text.endswith(b"\n")
        return [json.loads(each) for each in text.splitlines()]


@contextlib.asynccontextmanager
async def site(folder: Path, **settings: Any) -> AsyncIterator[Site]:
    """Nobody works on it yet."""
    places = {"database_url": f"sqlite:///{folder}/router.db", "files": f"file://{folder}/files"}
    chosen = replace(SETTINGS, **{**places, **settings})
    async with open_store(chosen) as keeping, stage(keeping, **{**places, **settings}) as world:
        made = Site(world, keeping, chosen)
        await until(lambda: keeping.trouble() is None, DEADLINE)  # its tables are made
        try:
            yield made
        finally:
            await made.dismiss()
