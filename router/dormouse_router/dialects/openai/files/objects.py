"""Files and uploads as OpenAI's clients see them. Pure."""

from collections.abc import Sequence

from dormouse_router.filing import FileRecord, PartRecord, UploadRecord
from dormouse_router.request import Refusal

Object = dict[str, object]


def file(record: FileRecord) -> Object:
    """What there is nothing to say of is left out, not null, as OpenAI's schema has it."""
    ends: Object = {} if record.expires_at is None else {"expires_at": int(record.expires_at)}
    return {
        "id": record.id,
        "object": "file",
        "bytes": record.bytes,
        "created_at": int(record.created_at),
        **ends,
        "filename": record.filename,
        "purpose": record.purpose,
        "status": "processed",
    }


def page(records: Sequence[FileRecord], limit: int) -> Object:
    """At most `limit` of them, which may be one more to tell that there are more."""
    shown = [file(record) for record in records[:limit]]
    ends = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    more = len(records) > limit
    return {"object": "list", "data": shown, "first_id": ends[0], "last_id": ends[1], "has_more": more}


def upload(record: UploadRecord, made: FileRecord | None = None) -> Object:
    return {
        "id": record.id,
        "object": "upload",
        "bytes": record.bytes,
        "created_at": int(record.created_at),
        "expires_at": int(record.ends_at),
        "filename": record.draft.filename,
        "purpose": record.draft.purpose,
        "status": record.status,
        "file": None if made is None else file(made),
    }


def part(record: PartRecord) -> Object:
    return {
        "id": record.id,
        "object": "upload.part",
        "created_at": int(record.created_at),
        "upload_id": record.upload_id,
    }


def no_file(ident: str) -> Refusal:
    return Refusal(404, f"No such File object: {ident[:80]}", param="id")
