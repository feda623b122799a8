"""One leader among the operators that share a Lease: wins it, keeps it, lets it go. Owns the fence that it opens.

Not the client library's election: that one judges by the wall clock, does not await what it cancels, and keeps the
Lease when it ends. Which record may be claimed when, `decide/election` says; this is the loop around it.
"""

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from dormouse_api import names
from dormouse_operator.decide.election import Sight, Terms, claim, read, released, see, void_in
from dormouse_operator.errors import Retry
from dormouse_operator.fence import Fence

log = logging.getLogger(__name__)

Object = dict[str, Any]

ANSWER_SECONDS = 5.0
"""For one request: another try may find an API server that answers."""
RELEASE_SECONDS = 2.0


class LostLeadershipError(Exception):
    """Another operator leads, or may by now: this process must end."""


class Voter(Protocol):
    """The part of `kube.Kube` that is needed: a client of its own, so that no renewal waits behind looks."""

    async def once(self, method: str, path: str, body: Object | None, seconds: float) -> tuple[int, Object]: ...


@dataclass(frozen=True)
class Seat:
    """What is run for: a Lease, and what its holder says in it that it serves (namespaces; empty: all)."""

    namespace: str
    lease: str
    serves: str = ""


class Election:
    """One candidate, known as `name` and a suffix of its own."""

    def __init__(
        self,
        voter: Voter,
        seat: Seat,
        terms: Terms,
        fence: Fence,
        name: str,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._voter, self._seat, self._terms, self._fence = voter, seat, terms, fence
        self._sleep = sleep
        # a container that was started again is another candidate: it knows nothing of what the last one did
        self.me = f"{name}_{uuid.uuid4().hex[:8]}"
        self._body: Object | None = None
        self._sight: Sight | None = None
        self._told = ""

    @property
    def leader(self) -> str:
        """Who held the Lease at the last look; empty: nobody, or none yet."""
        return self._sight.record.holder if self._sight else ""

    @property
    def informed(self) -> bool:
        """The Lease was looked at, so that it can be taken as soon as it is free."""
        return self._sight is not None

    @property
    def reference(self) -> Object:
        """The Lease as Events refer to it, once it is won."""
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "namespace": self._seat.namespace,
            "name": self._seat.lease,
            "uid": str((self._body or {}).get("metadata", {}).get("uid", "")),
        }

    async def win(self) -> None:
        """Stand by until this process leads."""
        while True:
            try:
                wait = await self._attempt()
            except Retry as error:
                log.warning("election: %s", error)
                wait = self._terms.glance
            if wait == 0.0:
                log.info("election: %s leads", self.me)
                return
            self._tell()
            await self._sleep(min(wait, self._terms.glance))

    async def hold(self) -> None:
        """Renew until cancelled; LostLeadershipError when another leads or the deadline has passed."""
        pause = self._terms.beat
        while True:
            await self._sleep(min(pause, self._fence.left))
            if not self._fence.left:
                raise LostLeadershipError(f"the Lease was not renewed for {self._terms.deadline:.0f} s")
            try:
                pause = self._terms.beat if await self._attempt() == 0.0 else self._terms.glance / 10
            except Retry as error:
                log.warning("election: not renewed, %.1f s left: %s", self._fence.left, error)
                pause = self._terms.glance
            if self.leader != self.me:
                self._fence.close()
                raise LostLeadershipError(f"{self.leader or 'nobody'} holds the Lease now")

    async def release(self) -> None:
        """Let the Lease go, if it is ours; what cannot be told now is found out by waiting."""
        held = self._fence.left > 0
        self._fence.close()
        if not held or self._body is None:
            return
        try:
            spec = released(read(self._body["spec"]), time.time())
            status, _ = await self._put(self._body, spec, RELEASE_SECONDS)
            log.info("election: the Lease is let go: %d", status)
        except Retry as error:
            log.warning("election: the Lease could not be let go: %s", error)

    async def _attempt(self) -> float:
        """Look, and claim what may be claimed; 0: it is ours, else seconds until it may be. Retry: nothing is known.

        A holder claims by what it knows of the Lease; a look comes when that is not true any more.
        """
        sight = self._sight
        if sight is None or self._body is None or self.leader != self.me:
            sight = await self._look()
        wait = void_in(sight, self.me, self._fence.now)
        if wait:
            return wait
        asked = self._fence.now
        spec = claim(sight.record, self.me, self._terms, time.time())
        status, answer = await self._put(self._body, spec, self._patience())
        if status in (404, 409):
            self._body = None
            return self._terms.glance
        _expect(status, answer)
        self._remember(answer)
        self._fence.open_until(asked + self._terms.deadline)
        return 0.0

    async def _look(self) -> Sight:
        status, answer = await self._voter.once("GET", self._path(self._seat.lease), None, self._patience())
        if status == 404:
            self._body = None
            self._sight = see(self._sight, None, self._fence.now)
            return self._sight
        _expect(status, answer)
        return self._remember(answer)

    def _remember(self, body: Object) -> Sight:
        self._body = body
        self._sight = see(self._sight, read(body.get("spec") or {}), self._fence.now)
        return self._sight

    async def _put(self, body: Object | None, spec: Object, seconds: float) -> tuple[int, Object]:
        """Create it, or replace exactly the version that was looked at: of two who try, one is told 409."""
        meta = {"name": self._seat.lease, "namespace": self._seat.namespace}
        new: Object = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
        if body is None:
            new["metadata"] = meta | {"annotations": {names.ANNOTATION_SERVES: self._seat.serves}}
            return await self._voter.once("POST", self._path(), new, seconds)
        had = body["metadata"]
        notes = (had.get("annotations") or {}) | {names.ANNOTATION_SERVES: self._seat.serves}
        new["metadata"] = had | {"annotations": notes}
        return await self._voter.once("PUT", self._path(self._seat.lease), new, seconds)

    def _path(self, name: str = "") -> str:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self._seat.namespace}/leases"
        return f"{path}/{name}" if name else path

    def _patience(self) -> float:
        """A leader must not wait for an answer past its deadline."""
        return min(ANSWER_SECONDS, self._fence.left or ANSWER_SECONDS)

    def _tell(self) -> None:
        """Say once per leader that this one stands by, and who is wrongly in the way."""
        if self.leader == self._told:
            return
        self._told = self.leader
        log.info("election: %s stands by, %s leads", self.me, self.leader or "nobody")
        notes = (self._body or {}).get("metadata", {}).get("annotations") or {}
        serves = notes.get(names.ANNOTATION_SERVES, self._seat.serves)
        if serves != self._seat.serves:
            log.warning(
                "election: the leader serves %s and this operator is told to serve %s: unless one replaces the other, "
                "they are two installations and need a Lease each (DORMOUSE_ELECTION_LEASE)",
                serves or "all namespaces",
                self._seat.serves or "all namespaces",
            )


def _expect(status: int, answer: Object) -> None:
    if status >= 300:
        raise Retry(f"{status} {answer.get('message', '')}")
