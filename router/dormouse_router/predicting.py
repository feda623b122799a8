"""Predictions between requests, as the dialect that makes them sees them: types and protocols, no database.

A prediction that has not ended is held by the router that makes it, for as long as its lease is renewed; then any
router may begin it anew. The token of a lease is the right to say what became of the prediction: whoever lost it says
nothing. Where the store cannot be used, what is called raises Refusal 503.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from dormouse_router.notifying import Delivery
from dormouse_router.request import Refusal

STARTING, PROCESSING = "starting", "processing"
SUCCEEDED, FAILED, CANCELED = "succeeded", "failed", "canceled"
ENDED = (SUCCEEDED, FAILED, CANCELED)


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """One prediction. Times are seconds since the epoch."""

    id: str
    owner: str
    """`keeping.request_owner` of the request that made it: nobody else sees it."""
    created_at: float
    status: str
    body: bytes
    """What clients are told of it, JSON, but for the addresses."""
    wish: bytes
    """What was asked for, JSON: enough to make it again."""
    expires_at: float
    """From then on it is as if it were not there."""
    token: int = 0
    """How often somebody began it."""


MOST_PAGE = 8 * 1024 * 1024
Place = tuple[float, str]
"""Where a prediction stands in a list: when it was made, and its id."""


class Predictions(Protocol):
    """Predictions of owners. Another owner's, and an expired one, is as if it were not there."""

    async def add(self, prediction: StoredPrediction, holder: str | None, until: float, most: int) -> None:
        """Insert it, held by `holder` until `until`, or None: whoever has room takes it.

        Refusal 429 where its owner has `most` unfinished ones.
        """
        ...

    async def get(self, id: str, owner: str) -> StoredPrediction | None:  # noqa: A002 - as the API calls it
        ...

    async def page(self, owner: str, before: Place | None, limit: int) -> tuple[list[StoredPrediction], bool]:
        """At most `limit`, the newest first, of those older than `before`, and whether there are more.

        Fewer where they are large: one, or MOST_PAGE bytes.
        """
        ...

    async def claim(self, holder: str, now: float, until: float, most: int) -> list[StoredPrediction]:
        """At most `most` that nobody holds at `now`, the oldest first; they are `holder`'s until `until`."""
        ...

    async def renew(self, holder: str, until: float) -> dict[str, int]:
        """Hold on to all that are `holder`'s: their ids and tokens. What is not among them was ended, or taken over."""
        ...

    async def keep(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        """How it is now, and what its receivers are to be told: both or nothing. Ended, nobody holds it any more.

        False, and nothing done, where it has ended, expired, or is somebody else's by its token.
        """
        ...

    async def end(self, prediction: StoredPrediction, deliveries: Sequence[Delivery] = ()) -> bool:
        """The same, whoever holds it. False where it has ended meanwhile, or is not there."""
        ...

    async def release(self, holder: str) -> None:
        """Nobody holds them any more: the next router that has room begins them anew."""
        ...


def too_many(most: int) -> Refusal:
    """What a client is told that has as many unfinished ones as it may have."""
    text = f"You have {most} predictions that have not ended, which is as many as you may have: wait, or cancel some."
    return Refusal(429, text, code="rate_limit_exceeded", retry_after=5.0)


def fitting(sizes: Iterable[int]) -> int:
    """How many of a page's rows, which have so many bytes, it has room for."""
    total = count = 0
    for size in sizes:
        total += size
        if count and total > MOST_PAGE:
            break
        count += 1
    return count
