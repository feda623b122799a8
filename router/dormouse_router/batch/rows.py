"""What is known of batches, as `files` needs it of a database: protocols.

Each method is one transaction. Times are given: the rows have no clock of their own.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from dormouse_router.batch.forecast import Unended
from dormouse_router.batch.lifecycle import Batch, LineError, Usage
from dormouse_router.batch.rota import OpenModel
from dormouse_router.batching import BatchLimits, Chunk, ChunkKey, Duty, Planned, Progress, Renewed
from dormouse_router.filing import FileRecord


@dataclass(frozen=True, slots=True)
class Segment:
    """Answers of one chunk, whole in a blob: the output file's lines, then the error file's."""

    id: str
    """The name of its blob."""
    places: tuple[int, ...]
    """Of the lines, within their chunk."""
    output_bytes: int
    error_bytes: int
    completed: int
    failed: int
    usage: Usage
    waited: float


@dataclass(frozen=True, slots=True)
class Piece:
    """Where a segment's lines lie in its blob."""

    id: str
    output_bytes: int
    error_bytes: int


class BatchRows(Protocol):
    """See `batching` for what holds."""

    async def add(self, batch: Batch, now: float, limits: BatchLimits) -> Batch:
        """Insert it and pin its input; as FAILED where that is not there. Refusal 400, 429."""
        ...

    async def get(self, id: str, owner: str) -> Batch | None: ...  # noqa: A002 - as the API calls it

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None: ...

    async def cancel(self, id: str, owner: str, now: float) -> Batch | None: ...  # noqa: A002

    async def progress(self, id: str, now: float) -> Progress: ...  # noqa: A002

    async def attended(self, now: float, holder: str | None) -> bool: ...

    async def waiting(self, now: float) -> int: ...


class WorkRows(Protocol):
    """The same for whoever works on them."""

    async def beat(self, holder: str, until: float) -> None:
        """The holder lives at least until then, as far as anybody may assume."""
        ...

    async def renew(
        self, holder: str, chunks: Collection[ChunkKey], duties: Collection[Duty], until: float
    ) -> Renewed: ...

    async def take(self, holder: str, now: float, until: float) -> Duty | None: ...

    async def drop(self, duty: Duty, until: float) -> None: ...

    async def open_models(self, holder: str, now: float) -> list[OpenModel]: ...

    async def unended(self) -> list[Unended]: ...

    async def claim(
        self, holder: str, now: float, until: float, prefer: Sequence[str], avoid: Collection[str]
    ) -> Chunk | None: ...

    async def flush(self, chunk: Chunk, segment: Segment) -> bool: ...

    async def release(self, chunk: Chunk, until: float) -> None: ...

    async def accept(self, duty: Duty, chunks: Sequence[Planned], now: float, limits: BatchLimits) -> Sequence[str]: ...

    async def refuse(self, duty: Duty, errors: tuple[LineError, ...], now: float, limits: BatchLimits) -> list[str]:
        """The blobs that nobody needs any more."""
        ...

    async def segments(self, id: str) -> list[Piece]:  # noqa: A002
        """All of a sealed batch, always in the same order."""
        ...

    async def unanswered(self, id: str) -> set[int]:  # noqa: A002
        """The numbers of the lines of a sealed batch that have no answer."""
        ...

    async def finish(
        self, duty: Duty, output: FileRecord | None, error: FileRecord | None, now: float, limits: BatchLimits
    ) -> list[str] | None:
        """The files are there and it has ended. The blobs that nobody needs any more; None where the duty was lost."""
        ...
