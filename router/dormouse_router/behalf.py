"""Calls that the batch worker makes on behalf of others: who may say so, and whose they are.

A worker calls itself by a name of 128 random bits that nothing but the database knows: whoever has it in a request is
one. Such a call has its batch's owner, and yields to everybody else's (`gateway.Call.low`). Names are looked up beside
the request, never in its way, and remembered for a minute, by their hashes: how long that takes tells nothing of them.
"""

import asyncio
import functools
import hashlib
import re
from collections.abc import Awaitable, Callable
from urllib.parse import unquote_to_bytes

from dormouse_router.batch.outcome import NOT_TRUSTED
from dormouse_router.caller import Caller, Role
from dormouse_router.request import Refusal

WORKER = b"x-dormouse-worker"
"""A request header: the worker's name."""
OWNER = b"x-dormouse-owner"
"""Beside it: `keeping.request_owner` of whoever made the batch."""
TEAMS = b"x-dormouse-teams"
"""The teams that whoever made it was in, percent-encoded, with commas between them; left out where there are none."""
PACE = b"x-dormouse-pace"
"""Of an answer: seconds per token that calls of others of the same model take now, where there are any."""
TRUST_SECONDS = 60.0
"""How long a name counts once it was found."""
DOUBT_SECONDS = 2.0
"""The same of one that was not found."""
MOST_LOOKUPS = 8
MOST_DOUBTS = 1024
_NAME = re.compile(rb"[a-z0-9.-]{1,253}/[0-9a-f]{32}")


class Trust:
    """Of one router."""

    def __init__(self, works: Callable[[str], Awaitable[bool]], clock: Callable[[], float]) -> None:
        """`works` says whether a worker of that name was heard of lately; it may raise Refusal."""
        self._works, self._clock = works, clock
        self._until: dict[bytes, float] = {}
        self._doubted: dict[bytes, float] = {}
        self._lookups: dict[bytes, asyncio.Task[None]] = {}

    def caller(self, worker: bytes, owner: bytes | None, teams: bytes | None = None) -> Caller:
        """Whose the call is. Refusal 403 where it is no worker's, 503 while that is being found out."""
        self._check(worker)
        if owner is None:
            raise Refusal(400, f"The header {OWNER.decode()} is missing.", param=OWNER.decode())
        return Caller("batch", owner.decode("latin-1"), Role.USER, "batch", _teams(teams or b""))

    def looking(self, worker: bytes) -> Caller:
        """The worker itself, who has to know how all models are that there are lines for. Refusal 403, 503."""
        self._check(worker)
        return Caller("batch", "", Role.ADMIN, "batch")

    def _check(self, worker: bytes) -> None:
        now, known = self._clock(), hashlib.sha256(worker).digest()
        left = self._until.get(known, now) - now
        if left < TRUST_SECONDS / 2:
            self._look_up(worker, known, now)
        if left <= 0:
            raise self._not_yet(known)

    async def close(self) -> None:
        lookups = list(self._lookups.values())
        for task in lookups:
            task.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _not_yet(self, known: bytes) -> Refusal:
        if known in self._lookups:
            return Refusal(503, "The worker's name is being looked up.", code=NOT_TRUSTED, retry_after=1.0)
        text = f"Only batch workers of this router may send the header {WORKER.decode()}: leave it out."
        return Refusal(403, text, code=NOT_TRUSTED)

    def _look_up(self, worker: bytes, known: bytes, now: float) -> None:
        """Begin to, unless that is under way, or it was not found a moment ago."""
        asked = known in self._lookups or self._doubted.get(known, 0.0) > now
        if asked or len(self._lookups) >= MOST_LOOKUPS or _NAME.fullmatch(worker) is None:
            return
        self._lookups[known] = asyncio.get_running_loop().create_task(self._learn(worker, known))

    async def _learn(self, worker: bytes, known: bytes) -> None:
        try:
            found = await self._works(worker.decode())
        except Refusal:  # the database is away: asked again with the next call
            return
        finally:
            del self._lookups[known]
        now = self._clock()
        if found:
            self._until = {name: until for name, until in self._until.items() if until > now}
            self._until[known] = now + TRUST_SECONDS
        else:
            if len(self._doubted) >= MOST_DOUBTS:
                self._doubted.clear()
            self._doubted[known] = now + DOUBT_SECONDS


@functools.lru_cache(maxsize=1024)
def _teams(told: bytes) -> frozenset[str]:
    return frozenset(unquote_to_bytes(team).decode() for team in told.split(b",") if team)
