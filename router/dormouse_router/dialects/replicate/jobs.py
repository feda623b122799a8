"""A prediction while this router makes it: what is known of it so far, and who is woken when more is."""

import asyncio
import time
from dataclasses import dataclass, field, replace

import msgspec
from msgspec import Struct

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.replicate import objects
from dormouse_router.dialects.replicate.answers import Output
from dormouse_router.dialects.replicate.hooks import Hook, Teller
from dormouse_router.dialects.replicate.objects import Object
from dormouse_router.predicting import PROCESSING, STARTING, SUCCEEDED, StoredPrediction


class Wish(Struct, frozen=True):
    """What is kept to make a prediction, beside its input."""

    name: str
    """As the client called the model or the route."""
    model: str
    """`namespace/name` of the model that was chosen."""
    base: str
    hook: Hook | None = None


@dataclass(slots=True)
class Job:
    """One of them. `prediction` is replaced, never changed."""

    row: StoredPrediction
    wish: Wish
    prediction: Object
    record: Record | None = None
    """Of the request that asked for it; None where it was taken from the store."""
    output: Output = field(default_factory=Output)
    answering: bool = False
    """An engine has begun to answer."""
    lost: bool = False
    """It was ended elsewhere, or is made by another router."""
    final: Object | None = None
    """What became of it, until that is kept: nobody is told before."""
    made: asyncio.Event = field(default_factory=asyncio.Event)
    """No more will come."""
    task: "asyncio.Task[None] | None" = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    teller: Teller = field(init=False)

    def __post_init__(self) -> None:
        self.teller = Teller(self.wish.hook, self.row.owner, self.wish.base)

    @property
    def now(self) -> Object:
        """It as clients see it now."""
        prediction = self.prediction
        if objects.is_ended(prediction):
            return prediction
        return prediction | {"output": self.output.shown(ended=False)}

    def log(self, line: str) -> None:
        self.prediction = self.prediction | {"logs": objects.with_log(self.prediction["logs"], line)}
        self.stir()

    def begin(self, now: float) -> None:
        """Its model is awake, and works."""
        self.prediction = self.prediction | {"status": PROCESSING, "started_at": objects.stamp(now)}
        self.stir()

    def say(self, piece: object) -> None:
        """Refusal where the output becomes too large."""
        self.output.add(piece)
        self.stir()

    def end(self, status: str, error: str | None = None) -> None:
        """It has come to its end, which nobody is told before it is kept."""
        shown = self.output.shown(ended=status == SUCCEEDED)
        self.final = objects.ended(self.prediction | {"output": shown}, status, time.time(), error)

    def measured(self, **metrics: float) -> None:
        self.prediction = self.prediction | {"metrics": {**self.prediction["metrics"], **metrics}}

    def stir(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def kept(self, prediction: Object) -> StoredPrediction:
        """The row, with the prediction as it is to be kept."""
        return replace(self.row, status=prediction["status"], body=msgspec.json.encode(prediction))


def anew(row: StoredPrediction) -> Job:
    """A job of a row that nobody makes now: from its beginning."""
    wish, prediction = msgspec.json.decode(row.wish, type=Wish), objects.stored(row)
    begun = prediction["started_at"] is not None
    prediction |= {"status": STARTING, "output": None, "started_at": None, "metrics": {}}
    job = Job(row, wish, prediction)
    if begun:
        job.log("The router that made this prediction is gone: it is made anew, from the beginning.")
    return job
