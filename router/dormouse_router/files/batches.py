"""Batches: rows and blobs in step. `batching.Batches` for those who take them, `batching.Work` for those who do."""

import contextlib
import time
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import replace

from dormouse_api.plain import plain
from dormouse_router.batch.forecast import Unended
from dormouse_router.batch.lifecycle import Batch, LineError
from dormouse_router.batch.rota import OpenModel
from dormouse_router.batch.rows import BatchRows, Segment, WorkRows
from dormouse_router.batching import (
    BEAT_SECONDS,
    NO_USAGE,
    Answer,
    BatchDraft,
    BatchLimits,
    Chunk,
    ChunkKey,
    Duty,
    Planned,
    Progress,
    Renewed,
)
from dormouse_router.files.blobs import Blobs
from dormouse_router.files.filestore import Clock
from dormouse_router.files.results import LostError, Results
from dormouse_router.filing import new_id
from dormouse_router.request import Refusal

MOST_ID = 100
"""Characters of a file's id that are kept, whatever was sent as one."""


def check_same(there: Batch, asked: Batch) -> None:
    """Refusal 409 where the batch of this id was made by another request, whose Idempotency-Key was the same."""
    if (there.input_file_id, there.endpoint, there.metadata) != (asked.input_file_id, asked.endpoint, asked.metadata):
        text = (
            f"This Idempotency-Key was sent with another body, which made '{there.id}': send that body again, or "
            "another key for this one."
        )
        raise Refusal(409, text, code="idempotency_key_reused", param="Idempotency-Key")


class BatchStore:
    """`batching.Batches`."""

    def __init__(self, rows: BatchRows, limits: BatchLimits, clock: Clock = time.time) -> None:
        self._rows, self._limits, self._clock = rows, limits, clock

    async def create(self, draft: BatchDraft) -> Batch:
        now = self._clock()
        said = (draft.owner, draft.endpoint, plain(draft.input_file_id, MOST_ID))
        made = Batch(draft.id or new_id("batch_"), *said, int(now), draft.metadata, draft.output_seconds)
        made = replace(made, rights=draft.rights)
        kept = await self._rows.add(made, now, self._limits)
        check_same(kept, made)
        return kept

    async def get(self, id: str, owner: str) -> Batch | None:  # noqa: A002 - as the API calls it
        return await self._rows.get(id, owner)

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None:
        return await self._rows.page(owner, after, limit)

    async def cancel(self, id: str, owner: str) -> Batch | None:  # noqa: A002
        return await self._rows.cancel(id, owner, self._clock())

    async def progress(self, batch: Batch) -> Progress:
        return await self._rows.progress(batch.id, self._clock())

    async def attended(self, holder: str | None = None) -> bool:
        return await self._rows.attended(self._clock(), holder)

    async def waiting(self) -> int:
        return await self._rows.waiting(self._clock())


class NoBatches:
    """`batching.Batches`, where what is kept is in this process: no worker would ever see it."""

    async def create(self, draft: BatchDraft) -> Batch:
        text = (
            "This router keeps nothing, so it takes no batches: whoever operates it may set DORMOUSE_DATABASE_URL to a "
            "database."
        )
        raise Refusal(503, text, code="batches_unavailable", should_retry=False)

    async def get(self, id: str, owner: str) -> Batch | None:  # noqa: A002 - as the API calls it
        return None

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None:
        return [] if after is None else None

    async def cancel(self, id: str, owner: str) -> Batch | None:  # noqa: A002
        return None

    async def progress(self, batch: Batch) -> Progress:
        return Progress()

    async def attended(self, holder: str | None = None) -> bool:
        return holder is None

    async def waiting(self) -> int:
        return 0


class WorkStore:
    """`batching.Work`. The order of things: a blob before its row, a row's end before its blob's."""

    def __init__(self, rows: WorkRows, blobs: Blobs, limits: BatchLimits, clock: Clock = time.time) -> None:
        self._rows, self._blobs, self._limits, self._clock = rows, blobs, limits, clock
        self._results = Results(rows, blobs)

    async def renew(
        self, holder: str, chunks: Collection[ChunkKey], duties: Collection[Duty], seconds: float
    ) -> Renewed:
        now = self._clock()
        await self._rows.beat(holder, now + BEAT_SECONDS)
        if not chunks and not duties:
            return Renewed()
        return await self._rows.renew(holder, chunks, duties, now + seconds)

    async def take(self, holder: str, seconds: float) -> Duty | None:
        now = self._clock()
        return await self._rows.take(holder, now, now + seconds)

    async def drop(self, duty: Duty, pause: float) -> None:
        await self._rows.drop(duty, self._clock() + pause)

    async def open_models(self, holder: str) -> list[OpenModel]:
        return await self._rows.open_models(holder, self._clock())

    async def unended(self) -> list[Unended]:
        return await self._rows.unended()

    async def claim(
        self, holder: str, seconds: float, prefer: Sequence[str] = (), avoid: Collection[str] = ()
    ) -> Chunk | None:
        now = self._clock()
        return await self._rows.claim(holder, now, now + seconds, prefer, avoid)

    async def flush(self, chunk: Chunk, answers: Sequence[Answer], waited: float = 0.0) -> bool:
        if not answers:
            return True
        segment = await self._kept(answers, waited)
        # where this raises, nobody knows what the database did: the sweep looks later
        taken = await self._rows.flush(chunk, segment)
        if not taken:
            await self._gone([segment.id])
        return taken

    async def release(self, chunk: Chunk, pause: float = 0.0) -> None:
        await self._rows.release(chunk, self._clock() + pause)

    async def read(self, batch: Batch, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        try:
            async with contextlib.aclosing(self._blobs.read(batch.input_file_id, start, stop)) as pieces:
                async for piece in pieces:
                    yield piece
        except FileNotFoundError:
            raise Refusal(404, f"The bytes of the file {batch.input_file_id} are gone.") from None

    async def accept(self, duty: Duty, chunks: Sequence[Planned]) -> Sequence[str]:
        return await self._rows.accept(duty, chunks, self._clock(), self._limits)

    async def refuse(self, duty: Duty, errors: tuple[LineError, ...]) -> None:
        await self._gone(await self._rows.refuse(duty, errors, self._clock(), self._limits))

    async def finish(self, duty: Duty) -> None:
        now = self._clock()
        ends = now + (duty.batch.output_seconds or self._limits.output)
        try:
            output, error = await self._results.written(duty, now, ends)
        except LostError:
            if (await self._rows.renew(duty.holder, [], [duty], now)).lost_duties:
                return  # somebody else has ended it
            text = (
                f"Bytes of the batch {duty.batch.id} are missing in the file store: bring them back, from a backup if "
                "need be. Until then it does not end."
            )
            raise Refusal(503, text, code="files_unavailable") from None
        gone = await self._rows.finish(duty, output, error, now, self._limits)
        await self._gone(gone or [])

    async def _kept(self, answers: Sequence[Answer], waited: float) -> Segment:
        """Their segment, whole and on the disk."""
        output = b"".join(answer.text + b"\n" for answer in answers if not answer.failed)
        error = b"".join(answer.text + b"\n" for answer in answers if answer.failed)
        usage = NO_USAGE
        for answer in answers:
            usage = usage.plus(answer.usage)
        failed = sum(answer.failed for answer in answers)
        name = new_id("seg_")
        file = await self._blobs.open(name)
        try:
            await file.write(output + error)
        except BaseException:
            await file.abort()
            raise
        await file.close()
        places = tuple(answer.place for answer in answers)
        sizes = (len(output), len(error))
        return Segment(name, places, *sizes, len(answers) - failed, failed, usage, waited)

    async def _gone(self, blobs: Sequence[str]) -> None:
        """No row speaks of them: what fails here, the sweep does later."""
        for blob in blobs:
            with contextlib.suppress(Refusal):
                await self._blobs.delete(blob)
