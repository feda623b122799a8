"""What is known of files, in this process alone: `filing.FileRows` and `filing.UploadRows`."""

from collections.abc import Collection

from dormouse_router.filing import PENDING, FileRecord, PartRecord, Quota, UploadRecord, Usage


class MemoryRows:
    """Nothing here waits, so nothing comes in between."""

    def __init__(self) -> None:
        self._files: dict[str, FileRecord] = {}
        self._pins: set[tuple[str, str]] = set()
        self._uploads: dict[str, tuple[UploadRecord, float]] = {}
        self._parts: dict[str, PartRecord] = {}

    # ------------------------------------------------------------------ files

    async def add(self, record: FileRecord, quota: Quota) -> None:
        (await self.usage(record.owner, record.created_at)).check(quota, record.bytes)
        self._files[record.id] = record

    async def usage(self, owner: str, now: float) -> Usage:
        each = [(file.owner, file.bytes) for file in self._files.values() if _live(file, now)]
        for upload, _ in self._uploads.values():
            if upload.status == PENDING and upload.ends_at > now:
                each.append((upload.draft.owner, upload.bytes))
        mine = [size for whose, size in each if whose == owner]
        return Usage(sum(mine), len(mine), sum(size for _, size in each))

    async def get(self, id: str, owner: str, now: float) -> FileRecord | None:  # noqa: A002
        found = self._files.get(id)
        return found if found is not None and found.owner == owner and _live(found, now) else None

    async def page(
        self, owner: str, now: float, purpose: str | None, after: str | None, limit: int, *, newest_first: bool
    ) -> list[FileRecord] | None:
        mine = [file for file in self._files.values() if file.owner == owner and _live(file, now)]
        mine.sort(key=lambda file: (file.created_at, file.id), reverse=newest_first)
        if after is not None:
            place = next((place for place, file in enumerate(mine) if file.id == after), None)
            if place is None:
                return None
            mine = mine[place + 1 :]
        return [file for file in mine if purpose in (None, file.purpose)][:limit]

    async def remove(self, id: str, owner: str, now: float) -> bool | None:  # noqa: A002
        if await self.get(id, owner, now) is None:
            return None
        del self._files[id]
        return self._pinned(id)

    async def pin(self, id: str, owner: str, by: str, now: float) -> FileRecord | None:  # noqa: A002
        found = await self.get(id, owner, now)
        if found is not None:
            self._pins.add((by, id))
        return found

    async def unpin(self, by: str) -> list[str]:
        held = [blob for whose, blob in self._pins if whose == by]
        self._pins -= {(by, blob) for blob in held}
        needed = await self.needed(held)
        return [blob for blob in held if blob not in needed]

    async def expire(self, now: float, most: int) -> list[str]:
        gone = [file.id for file in self._files.values() if not _live(file, now)][:most]
        for ident in gone:
            del self._files[ident]
        for ident in [ident for ident, (_, forgotten_at) in self._uploads.items() if forgotten_at <= now][:most]:
            del self._uploads[ident]
            gone += self._drop_parts(ident)
        return [blob for blob in gone if not self._pinned(blob)]

    async def needed(self, blobs: Collection[str]) -> set[str]:
        return {blob for blob in blobs if blob in self._files or blob in self._parts or self._pinned(blob)}

    # ------------------------------------------------------------------ uploads

    async def add_upload(self, upload: UploadRecord, quota: Quota, forgotten_at: float) -> None:
        (await self.usage(upload.draft.owner, upload.created_at)).check(quota, upload.bytes)
        self._uploads[upload.id] = upload, forgotten_at

    async def get_upload(self, id: str, owner: str) -> UploadRecord | None:  # noqa: A002
        found, _ = self._uploads.get(id, (None, 0.0))
        return found if found is not None and found.draft.owner == owner else None

    async def add_part(self, part: PartRecord, most: int) -> bool:
        upload, _ = self._uploads.get(part.upload_id, (None, 0.0))
        if upload is None or upload.status != PENDING or upload.ends_at <= part.created_at:
            return False
        if sum(each.bytes for each in (await self.parts(part.upload_id)).values()) + part.bytes > most:
            return False
        self._parts[part.id] = part
        return True

    async def parts(self, upload_id: str) -> dict[str, PartRecord]:
        return {ident: part for ident, part in self._parts.items() if part.upload_id == upload_id}

    async def finish(self, upload: UploadRecord, made: FileRecord | None) -> list[str] | None:
        found, forgotten_at = self._uploads.get(upload.id, (None, 0.0))
        if found is None or found.status != PENDING:
            return None
        self._uploads[upload.id] = upload, forgotten_at
        if made is not None:
            self._files[made.id] = made
        return self._drop_parts(upload.id)

    def _drop_parts(self, upload_id: str) -> list[str]:
        gone = [ident for ident, part in self._parts.items() if part.upload_id == upload_id]
        for ident in gone:
            del self._parts[ident]
        return gone

    def _pinned(self, blob: str) -> bool:
        return any(held == blob for _, held in self._pins)


def _live(record: FileRecord, now: float) -> bool:
    return record.expires_at is None or record.expires_at > now
