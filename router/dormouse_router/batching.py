"""Batches as dialects and the worker see them: types and protocols, no database, no disk, no HTTP.

`files.batches` fulfils `Batches` and `Work` over rows that `store` keeps (`BatchRows`) and blobs. Routers take batches
and tell of them; the worker, another process, does everything else. What binds the two is the database alone, so any
number of each may come and go. Where it cannot be used, what is called raises Refusal 503.

What holds, whoever is killed when:

- A batch is cut into *chunks*: lines of one model, in the order of their prompts' beginnings. Whoever works on one
  holds its lease. Each claim gives it another token, so a holder that was believed dead can do no harm any more.
- The answers to some lines of a chunk are a *segment*: one blob, whole before its row is there. That row, the lines
  being done and the batch's counts are one transaction, in which the token must still be the holder's: no line has two
  answers, and counts always are those of the segments. A chunk without an open line is gone.
- Validation and the end are *duties*, of which a batch has one at a time, with a lease and a token likewise. Taking the
  last one seals the batch: nothing is flushed any more, so its files are the same however often they are written. They
  become visible, and the batch ended, in one transaction.
"""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from dormouse_router.batch.forecast import Unended
from dormouse_router.batch.lifecycle import NO_RIGHTS, Batch, LineError, Rights, Usage
from dormouse_router.batch.rota import OpenModel
from dormouse_router.filing import FileRecord
from dormouse_router.request import Refusal

INPUT_PURPOSE, OUTPUT_PURPOSE = "batch", "batch_output"
OUTPUT_SECONDS = 30 * 86400.0
MOST_CHUNK = 128
"""Lines of a chunk."""
WINDOW_GRACE = 60.0
"""Seconds that lines under way at the end of their batch's window may take."""
CANCEL_GRACE = 600.0
"""The same for lines under way when their batch is cancelled."""
NO_USAGE = Usage()
BEAT_SECONDS = 60.0
"""A worker that has not been heard of for so long is none."""


@dataclass(frozen=True, slots=True)
class BatchDraft:
    """A batch that is about to be, checked by whoever took it."""

    owner: str
    endpoint: str
    input_file_id: str
    metadata: dict[str, str] | None = None
    output_seconds: int | None = None
    id: str | None = None
    """Of its own, where the owner's batch of that id is to be made once, however often it is asked for."""
    rights: Rights = NO_RIGHTS


class Line(NamedTuple):
    """Where one line of the input lies; `place` is what answers call it."""

    place: int
    """Within its chunk, from 0."""
    number: int
    """Within the file, from 1."""
    offset: int
    length: int
    """In bytes, without the line's end."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines that the holder is to have answered, all of one model."""

    batch: Batch
    """As it was when this was claimed."""
    number: int
    model: str
    lines: tuple[Line, ...]
    """The open ones; those that have their answers are left out."""
    holder: str
    token: int

    @property
    def key(self) -> "ChunkKey":
        return ChunkKey(self.batch.id, self.number, self.token)


class ChunkKey(NamedTuple):
    """One claim of one chunk."""

    batch_id: str
    number: int
    token: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The final outcome of one line."""

    place: int
    text: bytes
    """The line of the output or error file, without its end: api shape of section "Result lines" in docs/batch.md."""
    failed: bool = False
    """Whether it belongs into the error file."""
    usage: Usage = NO_USAGE


class Task(StrEnum):
    """What a batch needs as a whole."""

    VALIDATE = "validate"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Duty:
    """One batch that the holder is to validate, or to end. `batch.duties.perform` does either."""

    task: Task
    batch: Batch
    holder: str
    token: int
    input_bytes: int
    output_id: str
    """What its output file will be called, and below the error file; nobody is told before they are there."""
    error_id: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """What became of what a holder holds."""

    lost: frozenset[ChunkKey] = frozenset()
    """No longer the holder's: their answers would be refused, so end what is under way for them."""
    lost_duties: frozenset[str] = frozenset()
    """Ids of batches, likewise."""
    cancelling: frozenset[str] = frozenset()
    """Ids of batches of which nothing more may be asked: let what is under way end, flush it, then `release`."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A chunk as validation makes it."""

    model: str
    lines: bytes
    """`batch.chunking.packed`."""
    count: int
    tokens: int
    """An estimate, from its bytes."""


@dataclass(frozen=True, slots=True)
class ModelProgress:
    """Of one batch, one model's lines."""

    model: str
    total: int
    open: int
    held: int
    """Of the open ones, those that some worker has claimed."""


@dataclass(frozen=True, slots=True)
class Progress:
    models: tuple[ModelProgress, ...] = ()
    waited: float = 0.0
    """Seconds that workers have waited for models to wake."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one owner may have."""

    creates: int
    """Batches made within an hour."""
    tokens: int
    """Enqueued at once for one model, by estimate; 0: any number."""
    remembered: float
    """Seconds that an ended batch is known."""
    output: float = OUTPUT_SECONDS
    """Seconds that its files live, where nothing else was asked."""


def check_creates(made: int, limits: BatchLimits, wait: float) -> None:
    """Refusal 429 where an owner who made so many within the hour may make no more for `wait` seconds."""
    if made >= limits.creates:
        text = f"You have made {made} batches within an hour, which is as many as you may: put more lines into each."
        raise Refusal(429, text, code="rate_limit_exceeded", retry_after=max(1.0, wait))


def check_input(record: FileRecord) -> None:
    """Refusal 400 where the file was uploaded for something else."""
    if record.purpose != INPUT_PURPOSE:
        text = (
            f"The file {record.id} has the purpose '{record.purpose}': upload the requests with purpose "
            f"'{INPUT_PURPOSE}'."
        )
        raise Refusal(400, text, code="invalid_value", param="input_file_id")


class Batches(Protocol):
    """Batches of owners, for dialects. Another owner's is as if it were not there."""

    async def create(self, draft: BatchDraft) -> Batch:
        """Make it, and pin its input; failed already where that is not there. Refusal 400 (other files), 409, 429."""
        ...

    async def get(self, id: str, owner: str) -> Batch | None:  # noqa: A002 - as the API calls it
        ...

    async def page(self, owner: str, after: str | None, limit: int) -> list[Batch] | None:
        """At most `limit`, newest first, those behind the one called `after`; None: there is no such one."""
        ...

    async def cancel(self, id: str, owner: str) -> Batch | None:  # noqa: A002
        """None: not there. TransitionError where it has ended otherwise."""
        ...

    async def progress(self, batch: Batch) -> Progress: ...

    async def attended(self, holder: str | None = None) -> bool:
        """Whether a worker was heard of lately; any, or the one of that name."""
        ...

    async def waiting(self) -> int:
        """How many batches wait for a worker, of all owners; 0 while there is one."""
        ...


class Work(Protocol):
    """What the worker does, in this order of calls.

    Once, at its start: think of a `holder`, a name that no process before it had (pod name and random hex).

    Every few seconds, all its life: `renew`, also with nothing in hand, which tells routers that somebody works. Ask
    for leases of several times that interval. Stop at once with what it says is lost.

    Whenever there is room: `take`, and `batch.duties.perform` what it gives, in a task of its own while calls go on;
    then `claim`. While nothing is to be had, ask again a second later or so: nothing tells of new work.

    For a chunk: read its lines with `read` (by range, `Line.offset` and `length`; neighbours are best read together),
    ask them, `flush` what is there every now and then and at last, until all its lines are done (the chunk is then
    gone, nothing to release), or `release` it. Ask nothing more once `batch.expires_at` has passed; what is flushed
    within WINDOW_GRACE of it still counts, and lines without an answer then are told to have expired.
    """

    async def renew(
        self, holder: str, chunks: Collection[ChunkKey], duties: Collection[Duty], seconds: float
    ) -> Renewed:
        """Say that the holder lives and goes on with these, whose leases now end in `seconds`. A holder that renews
        late may still have them, if nobody else has claimed them meanwhile."""
        ...

    async def take(self, holder: str, seconds: float) -> Duty | None:
        """A batch that needs validating or ending, for `seconds`. Ends first, then the oldest."""
        ...

    async def drop(self, duty: Duty, pause: float) -> None:
        """It could not be done; whoever wants may take it in `pause` seconds."""
        ...

    async def open_models(self, holder: str) -> list[OpenModel]:
        """The models of which there is something to claim, or somebody has claimed something; by name."""

    async def unended(self) -> list[Unended]: ...

    async def claim(
        self, holder: str, seconds: float, prefer: Sequence[str] = (), avoid: Collection[str] = ()
    ) -> Chunk | None:
        """A chunk of a batch in progress whose window is open. Of the `prefer`red models (awake ones, best first) where
        there is one, of all batches; else of the oldest batch, first come first. None of the models to `avoid`."""
        ...

    async def flush(self, chunk: Chunk, answers: Sequence[Answer], waited: float = 0.0) -> bool:
        """Keep these answers for ever. False: the chunk is not the holder's any more, or some of these lines have their
        answers already, and nothing was kept: forget the chunk. A Refusal (503, 507) leaves open whether they were
        kept: flush the same again, where False then means that they may have been. `waited`: seconds spent waiting for
        the model to wake since the last flush, which `dormouse.swap_seconds` adds up."""
        ...

    async def release(self, chunk: Chunk, pause: float = 0.0) -> None:
        """Give it back with its open lines; nobody claims it within `pause` seconds."""
        ...

    def read(self, batch: Batch, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Bytes of its input, in pieces; leave it with `aclosing`. Refusal 503."""
        ...

    async def accept(self, duty: Duty, chunks: Sequence[Planned]) -> Sequence[str]:
        """Its input may be worked on. The models of which its owner would have too much enqueued, in which case nothing
        was done. Nothing is done either where the duty was lost, or the batch is being cancelled."""
        ...

    async def refuse(self, duty: Duty, errors: tuple[LineError, ...]) -> None:
        """Its input may not be worked on."""
        ...

    async def finish(self, duty: Duty) -> None:
        """Write its files and end it. Refusal 503, 507: `drop` it."""
        ...
