"""Processes that do everything with batches, to be killed: `python -m tests.router.batch.process FOLDER`.

Another one for each line that comes, a fork that has imported everything; `ready` and its process id are said first,
`gone` last. Each line in between is a promise: what has been acknowledged to it by then is never lost.
"""

import asyncio
import itertools
import os
import secrets
import sys
from dataclasses import replace

import structlog

from dormouse_router.batch.duties import Taking, perform
from dormouse_router.batch.lifecycle import Batch
from dormouse_router.batching import Answer, BatchDraft, Chunk, Work
from dormouse_router.filing import Draft
from dormouse_router.keeping import Keeping
from dormouse_router.settings import Settings
from dormouse_router.store import open_store
from tests.router.batch.inputs import CHAT, OWNER, lines, told

LINES, AT_ONCE, LEASE = 300, 50, 0.5


def settings_in(folder: str) -> Settings:
    return replace(Settings(), database_url=f"sqlite:///{folder}/router.db", files=f"file://{folder}/files")


def say(*words: object) -> None:
    os.write(1, " ".join(map(str, words)).encode() + b"\n")


async def serves(_batch: Batch, _name: str) -> bool:
    return True


async def create(keeping: Keeping) -> str:
    async with keeping.files.writing(OWNER, 10_000_000) as writer:
        await writer.write(lines(LINES))
        record = await writer.commit(Draft(OWNER, "in.jsonl", "batch"))
    batch = await keeping.batches.create(BatchDraft(OWNER, CHAT, record.id))
    return batch.id


async def answer(work: Work, chunk: Chunk) -> None:
    for begin in range(0, len(chunk.lines), AT_ONCE):
        some = chunk.lines[begin : begin + AT_ONCE]
        made = [told(chunk.batch.id, line.number, f"r-{line.number - 1}") for line in some]
        if await work.flush(chunk, [Answer(line.place, text) for line, text in zip(some, made, strict=True)]):
            say("flushed", chunk.batch.id, len(some))


async def step(work: Work, holder: str) -> bool:
    """Whether there was anything to do."""
    if (duty := await work.take(holder, LEASE)) is not None:
        await perform(work, duty, Taking(serves))
        say(duty.task, duty.batch.id)
        return True
    if (chunk := await work.claim(holder, LEASE)) is not None:
        await answer(work, chunk)
        return True
    return False


async def main(folder: str) -> None:
    holder = secrets.token_hex(8)
    async with open_store(settings_in(folder)) as keeping:
        assert keeping.work is not None
        say("ready", os.getpid())
        for _ in itertools.count():
            say("created", await create(keeping))
            while await step(keeping.work, holder):
                pass


def on_demand(folder: str) -> None:
    from dormouse_router.store import sql as sql  # the slow part of a start

    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(folder))
        os.waitpid(pid, 0)
        say("gone")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    on_demand(sys.argv[1])
