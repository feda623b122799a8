"""Files that come in parts, in a database: `filing.UploadRows`."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Row, and_, delete, func, select, update

from dormouse_router.filing import PENDING, Draft, FileRecord, PartRecord, Quota, UploadRecord
from dormouse_router.store.database import Database
from dormouse_router.store.files import is_ours, make_room
from dormouse_router.store.tables import files, upload_parts, uploads

_UPLOAD, _PART = uploads.c, upload_parts.c


class SqlUploadRows:
    """Each method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_upload(self, upload: UploadRecord, quota: Quota, forgotten_at: float) -> None:
        fields = asdict(upload)
        values = {**fields.pop("draft"), **fields, "expires_at": forgotten_at}
        async with self._database.writing(durable=True) as connection:
            await make_room(connection, upload.draft.owner, upload.bytes, quota, upload.created_at)
            await connection.execute(uploads.insert().values(values))

    async def get_upload(self, id: str, owner: str) -> UploadRecord | None:  # noqa: A002
        if not is_ours(id):
            return None
        async with self._database.reading() as connection:
            found = (await connection.execute(select(uploads).where(_UPLOAD.id == id, _UPLOAD.owner == owner))).first()
        return None if found is None else _record(found)

    async def add_part(self, part: PartRecord, most: int) -> bool:
        async with self._database.writing(durable=True) as connection:
            # its row is the lock of its parts: who ends it waits for this, or has come before
            pending = and_(_UPLOAD.id == part.upload_id, _UPLOAD.status == PENDING, _UPLOAD.ends_at > part.created_at)
            if (await connection.execute(select(_UPLOAD.id).where(pending).with_for_update())).first() is None:
                return False
            size = select(func.coalesce(func.sum(_PART.bytes), 0)).where(_PART.upload_id == part.upload_id)
            if int((await connection.execute(size)).scalar_one()) + part.bytes > most:
                return False
            await connection.execute(upload_parts.insert().values(asdict(part)))
        return True

    async def parts(self, upload_id: str) -> dict[str, PartRecord]:
        async with self._database.reading() as connection:
            rows = await connection.execute(select(upload_parts).where(_PART.upload_id == upload_id))
            return {row.id: PartRecord(*row) for row in rows}

    async def finish(self, upload: UploadRecord, made: FileRecord | None) -> list[str] | None:
        async with self._database.writing(durable=True) as connection:
            mine = and_(_UPLOAD.id == upload.id, _UPLOAD.status == PENDING)
            ended = update(uploads).where(mine).values(status=upload.status, file_id=upload.file_id)
            if not (await connection.execute(ended)).rowcount:
                return None
            whose = _PART.upload_id == upload.id
            gone = list((await connection.execute(select(_PART.id).where(whose))).scalars())
            await connection.execute(delete(upload_parts).where(whose))
            if made is not None:
                await connection.execute(files.insert().values(asdict(made)))
        return gone


def _record(row: Row[Any]) -> UploadRecord:
    draft = Draft(row.owner, row.filename, row.purpose, row.lives)
    times = (row.created_at, row.ends_at)
    return UploadRecord(row.id, draft, row.bytes, row.mime_type, *times, row.status, row.file_id)
