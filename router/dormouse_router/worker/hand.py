"""One chunk that this worker has in hand, and one line of it. State only."""

import asyncio
from dataclasses import dataclass, field

from dormouse_router.batch.outcome import Tries
from dormouse_router.batching import Answer, Chunk, Line


@dataclass(slots=True)
class Hand:
    """A claimed chunk. `open` lines have no answer yet, `flying` ones are being asked, `answers` are not flushed."""

    chunk: Chunk
    common: str
    """What the heads of its calls have in common."""
    open: int
    flying: int = 0
    answers: list[Answer] = field(default_factory=list)
    ready: int = 0
    """Bytes of `answers`."""
    held: int = 0
    """Bytes of its lines that have no final answer, and of `answers`."""
    waited: float = 0.0
    """Seconds that the model took to wake, not flushed yet."""
    since: float = 0.0
    """When the first of `answers` came."""
    closing: bool = False
    """Nothing more of it is asked: what flies may land, then it is given back."""
    gone: bool = False
    """It is somebody else's now, or nobody's."""
    flushing: bool = False
    tasks: "set[asyncio.Task[None]]" = field(default_factory=set)


@dataclass(slots=True)
class Todo:
    """A line that is to be asked."""

    hand: Hand
    line: Line
    id: str
    custom_id: bytes
    """JSON."""
    body: bytes
    tries: Tries = field(default_factory=Tries)
