"""Files kept for clients, as dialects and the batch worker see them: types and protocols, no disk, no database.

`files` fulfils them: bytes in a folder or a bucket (blobs), what is known of them in the database (rows). A blob is
whole and on the disk before its row is there, and a row goes before its blob: what has a row can be read, always.
Where the store cannot be used, what is called raises Refusal 503; where it is full, 507.
"""

import secrets
from collections.abc import AsyncGenerator, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from dormouse_router.request import Refusal

PENDING, COMPLETED, CANCELLED, EXPIRED = "pending", "completed", "cancelled", "expired"
"""What an upload in parts is."""


def new_id(prefix: str) -> str:
    """An id that nobody guesses: 128 random bits. Also the name of a blob, the only one there ever is."""
    return f"{prefix}{secrets.token_hex(16)}"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What is known of one file. Times are seconds since the epoch."""

    id: str
    """`file-` and 32 hexadecimal digits; the name of its blob as well."""
    owner: str
    """`keeping.request_owner` of the request that made it: nobody else sees it."""
    filename: str
    """As the client named it, made plain: one line, no folders. Never part of a path."""
    purpose: str
    bytes: int
    sha256: str
    created_at: float
    expires_at: float | None = None
    """From then on it is as if it were not there. None: never."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is about to be: what whoever writes it says of it."""

    owner: str
    filename: str
    purpose: str
    lives: float | None = None
    """Seconds from its making to its end."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Most that there may be; a file that does not fit is refused."""

    owner_bytes: int
    owner_files: int
    bytes: int
    """Of all owners together."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What there is, pending uploads with the bytes that they announced."""

    owner_bytes: int = 0
    owner_files: int = 0
    bytes: int = 0

    def check(self, quota: Quota, more: int) -> None:
        """Refusal 403 where another file of `more` bytes is more than its owner may have, 507 where it has no room."""
        if self.owner_files >= quota.owner_files:
            text = f"You have {self.owner_files} files, which is as many as you may have: delete some."
            raise Refusal(403, text, code="file_quota_exceeded")
        if self.owner_bytes + more > quota.owner_bytes:
            text = (
                f"Your files may have {quota.owner_bytes} bytes together and have {self.owner_bytes}: delete some, "
                "or let files expire with expires_after."
            )
            raise Refusal(403, text, code="file_quota_exceeded")
        if self.bytes + more > quota.bytes:
            raise full()


def full() -> Refusal:
    """What a client is told while there is no room for its file."""
    text = "The file store is full: delete files, or ask whoever operates the router for a larger one."
    return Refusal(507, text, code="file_store_full", should_retry=False)


class FileWriter(Protocol):
    """A file that is being written. Nobody sees it before `commit`; left without it, it leaves nothing behind."""

    @property
    def size(self) -> int:
        """Bytes written so far."""
        ...

    async def write(self, chunk: bytes) -> None:
        """Add to it. Returns when there is room for more. Refusal 413 beyond its limit, 507, 503."""
        ...

    async def commit(self, draft: Draft) -> FileRecord:
        """It is whole: from now on everybody may see it, and no crash loses it. Refusal 403 (quota), 507, 503."""
        ...


class Files(Protocol):
    """Files of owners. Another owner's, and an expired one, is as if it were not there."""

    def writing(self, owner: str, most: int) -> AbstractAsyncContextManager[FileWriter]:
        """Write a file of at most `most` bytes. Refusal on entering where its owner has no room for one."""
        ...

    async def get(self, id: str, owner: str) -> FileRecord | None:  # noqa: A002 - as the API calls it
        ...

    async def page(
        self, owner: str, purpose: str | None, after: str | None, limit: int, *, newest_first: bool
    ) -> list[FileRecord] | None:
        """At most `limit` files by the time of their making, those behind the one called `after`; None: no such one."""
        ...

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        """Whether it was there."""
        ...

    def read(self, record: FileRecord, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Its bytes from `start` to before `stop`, in pieces. Refusal 503; 404 where it was deleted meanwhile.

        Leave it with `aclosing`, as any generator that may not be read to its end.
        """
        ...

    async def pin(self, id: str, owner: str, by: str) -> FileRecord | None:  # noqa: A002
        """The file, whose bytes can be read from now on until `unpin`, also when it is deleted or expires meanwhile.

        `by` says who needs it: a batch's id. Twice is once. None where it is not there.
        """
        ...

    async def unpin(self, by: str) -> None:
        """`by` needs nothing any more. What was deleted meanwhile goes."""
        ...


@dataclass(frozen=True, slots=True)
class UploadRecord:
    """A file that comes in parts, each a request of its own."""

    id: str
    draft: Draft
    bytes: int
    """Of the whole, as announced."""
    mime_type: str
    created_at: float
    ends_at: float
    """No part, and no end, is taken from then on."""
    status: str = PENDING
    file_id: str | None = None
    """Of the file it became."""


@dataclass(frozen=True, slots=True)
class PartRecord:
    """One part. `id` is the name of its blob as well."""

    id: str
    upload_id: str
    bytes: int
    created_at: float


class PartWriter(Protocol):
    """A part that is being written, as a FileWriter."""

    @property
    def size(self) -> int: ...

    async def write(self, chunk: bytes) -> None: ...

    async def commit(self) -> PartRecord: ...


class Uploads(Protocol):
    """Files in parts."""

    async def create(self, draft: Draft, size: int, mime_type: str) -> UploadRecord:
        """Refusal 403 (quota), 507, 503."""
        ...

    async def get(self, id: str, owner: str) -> UploadRecord | None:  # noqa: A002
        """It, `EXPIRED` once its time is over."""
        ...

    def writing(self, upload: UploadRecord, most: int) -> AbstractAsyncContextManager[PartWriter]:
        """Write a part of at most `most` bytes."""
        ...

    async def complete(
        self, upload: UploadRecord, parts: list[str], md5: str | None
    ) -> tuple[UploadRecord, FileRecord]:
        """Make the file, of the parts in this order. Refusal 400 where they are not its parts, are not as long as was
        announced, or have another checksum (hexadecimal); 409 where somebody else ended it meanwhile."""
        ...

    async def cancel(self, upload: UploadRecord) -> UploadRecord:
        """Its parts go. Refusal 409 where somebody else ended it meanwhile."""
        ...


class FileRows(Protocol):
    """What is known of files, as `files` needs it of a database. Times are given: it has no clock of its own."""

    async def add(self, record: FileRecord, quota: Quota) -> None:
        """Insert it, if there is room: else the Refusal of `Usage.check`."""
        ...

    async def usage(self, owner: str, now: float) -> Usage: ...

    async def get(self, id: str, owner: str, now: float) -> FileRecord | None: ...  # noqa: A002

    async def page(
        self, owner: str, now: float, purpose: str | None, after: str | None, limit: int, *, newest_first: bool
    ) -> list[FileRecord] | None:
        """As `Files.page`."""
        ...

    async def remove(self, id: str, owner: str, now: float) -> bool | None:  # noqa: A002
        """Delete the row; whether somebody still needs its blob. None where it was not there."""
        ...

    async def pin(self, id: str, owner: str, by: str, now: float) -> FileRecord | None: ...  # noqa: A002

    async def unpin(self, by: str) -> list[str]:
        """End them; the blobs that nobody needs any more."""
        ...

    async def expire(self, now: float, most: int) -> list[str]:
        """Delete at most `most` rows whose time is over, of files and of uploads; the blobs nobody needs any more."""
        ...

    async def needed(self, blobs: Collection[str]) -> set[str]:
        """Those of them that a file, a pin or a part speaks of."""
        ...


class UploadRows(Protocol):
    """The same of uploads."""

    async def add_upload(self, upload: UploadRecord, quota: Quota, forgotten_at: float) -> None:
        """Insert it, if there is room. From `forgotten_at` on, it and its parts may go."""
        ...

    async def get_upload(self, id: str, owner: str) -> UploadRecord | None: ...  # noqa: A002

    async def add_part(self, part: PartRecord, most: int) -> bool:
        """Insert it, unless the upload has ended or its parts would have more than `most` bytes together."""
        ...

    async def parts(self, upload_id: str) -> dict[str, PartRecord]: ...

    async def finish(self, upload: UploadRecord, made: FileRecord | None) -> list[str] | None:
        """It is no longer pending; its parts go, the file it became is inserted. The blobs that go with them; None,
        and nothing done, where it was not pending any more."""
        ...
