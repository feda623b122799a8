"""Files in parts: each part is a blob, and the whole is made of them in the end. `filing.Uploads`."""

import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace

from dormouse_router.files.blobs import Blobs
from dormouse_router.files.filestore import Clock, record_of, room
from dormouse_router.files.writing import Budget, Writing
from dormouse_router.filing import (
    CANCELLED,
    COMPLETED,
    EXPIRED,
    PENDING,
    Draft,
    FileRecord,
    PartRecord,
    Quota,
    UploadRecord,
    UploadRows,
    new_id,
)
from dormouse_router.request import Refusal

LIFE = 3600.0
"""Seconds that an upload takes parts."""
REMEMBERED = 86400.0
"""Seconds after which what is known of an ended one goes."""


class UploadStore:
    """The announced bytes count as its owner's from the beginning, so that the end finds room."""

    def __init__(self, rows: UploadRows, blobs: Blobs, quota: Quota, clock: Clock = time.time) -> None:
        self._rows, self._blobs, self._quota, self._clock = rows, blobs, quota, clock
        self._budget = Budget(quota.bytes)

    async def create(self, draft: Draft, size: int, mime_type: str) -> UploadRecord:
        now = self._clock()
        upload = UploadRecord(new_id("upload_"), draft, size, mime_type, now, now + LIFE)
        await self._rows.add_upload(upload, room(self._quota), now + LIFE + REMEMBERED)
        return upload

    async def get(self, id: str, owner: str) -> UploadRecord | None:  # noqa: A002
        found = await self._rows.get_upload(id, owner)
        if found is not None and found.status == PENDING and found.ends_at <= self._clock():
            return replace(found, status=EXPIRED)
        return found

    @contextlib.asynccontextmanager
    async def writing(self, upload: UploadRecord, most: int) -> AsyncIterator["_PartWriter"]:
        writing = Writing(self._blobs, new_id("part_"), most, lambda size: self._budget.take(size, 0))
        try:
            yield _PartWriter(self, upload, writing)
        finally:
            self._budget.arriving -= writing.size
            await writing.abandon()

    async def keep_part(self, upload: UploadRecord, writing: Writing) -> PartRecord:
        await writing.close()
        part = PartRecord(writing.name, upload.id, writing.size, self._clock())
        if not await self._rows.add_part(part, upload.bytes):
            await self._drop([part.id])
            text = (
                f"The upload {upload.id} takes this part no more: it has ended, or its parts would have more than the "
                f"{upload.bytes} bytes that were announced. Make another upload."
            )
            raise Refusal(400, text, code="invalid_upload_part")
        return part

    async def complete(
        self, upload: UploadRecord, parts: list[str], md5: str | None
    ) -> tuple[UploadRecord, FileRecord]:
        wanted = await self._wanted(upload, parts)
        whole = Writing(self._blobs, new_id("file-"), upload.bytes, lambda _: None, md5=md5 is not None)
        try:
            for part in wanted:
                async with contextlib.aclosing(self._blobs.read(part.id, 0, part.bytes)) as pieces:
                    async for piece in pieces:
                        await whole.write(piece)
            await whole.close()
        except FileNotFoundError:
            raise _ended(upload) from None
        finally:
            await whole.abandon()
        if md5 is not None and md5.lower() != whole.md5:
            await self._drop([whole.name])
            text = f"The parts have the MD5 {whole.md5}, not {md5}: send the damaged one again, or leave md5 out."
            raise Refusal(400, text, code="invalid_value", param="md5")
        made = record_of(whole, upload.draft, self._clock())
        ended = replace(upload, status=COMPLETED, file_id=made.id)
        await self._finish(ended, made)
        return ended, made

    async def cancel(self, upload: UploadRecord) -> UploadRecord:
        ended = replace(upload, status=CANCELLED)
        await self._finish(ended, None)
        return ended

    async def _wanted(self, upload: UploadRecord, parts: list[str]) -> list[PartRecord]:
        known = await self._rows.parts(upload.id)
        strange = next((part for part in parts if part not in known), None)
        if strange is not None or len(set(parts)) < len(parts):
            named = f"'{strange}' is none of them" if strange is not None else "one is named twice"
            text = f"part_ids must name parts of this upload, each once: {named}."
            raise Refusal(400, text, code="invalid_value", param="part_ids")
        size = sum(known[part].bytes for part in parts)
        if size != upload.bytes:
            text = (
                f"The parts have {size} bytes together, and {upload.bytes} were announced: send the others, or cancel."
            )
            raise Refusal(400, text, code="invalid_value", param="part_ids")
        return [known[part] for part in parts]

    async def _finish(self, ended: UploadRecord, made: FileRecord | None) -> None:
        gone = await self._rows.finish(ended, made)
        if gone is None:
            await self._drop([made.id] if made is not None else [])
            raise _ended(ended)
        await self._drop(gone)

    async def _drop(self, blobs: list[str]) -> None:
        """No row speaks of them: what fails here, the sweep does later."""
        for blob in blobs:
            with contextlib.suppress(Refusal):
                await self._blobs.delete(blob)


class _PartWriter:
    """`filing.PartWriter`."""

    def __init__(self, store: UploadStore, upload: UploadRecord, writing: Writing) -> None:
        self._store, self._upload, self._writing = store, upload, writing

    @property
    def size(self) -> int:
        return self._writing.size

    async def write(self, chunk: bytes) -> None:
        await self._writing.write(chunk)

    async def commit(self) -> PartRecord:
        return await self._store.keep_part(self._upload, self._writing)


def _ended(upload: UploadRecord) -> Refusal:
    return Refusal(409, f"The upload {upload.id} was ended by another request meanwhile.", code="conflict")
