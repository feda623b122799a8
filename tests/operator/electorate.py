"""Operators' candidates, the Lease they share, and a clock that only tests turn. Any can be frozen or cut off."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dormouse_operator.decide.election import Terms
from dormouse_operator.election import Election, Seat
from dormouse_operator.errors import Retry
from dormouse_operator.fence import Fence

Object = dict[str, Any]
TERMS = Terms(15)
PATH = "/apis/coordination.k8s.io/v1/namespaces/system/leases"


class Time:
    """Sleeps end when the test lets time pass."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.each: Callable[[], None] = lambda: None
        self._asleep: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._asleep, (self.now + seconds, next(self._numbers), woken))
        await woken

    async def go(self, seconds: float) -> None:
        """Let `seconds` pass, step by step."""
        end = self.now + seconds
        await self._settle()
        while self._asleep and self._asleep[0][0] <= end:
            at, _, woken = heapq.heappop(self._asleep)
            self.now = max(self.now, at)
            if not woken.done():
                woken.set_result(None)
            await self._settle()
        self.now = end
        await self._settle()

    async def _settle(self) -> None:
        for _ in range(12):
            await asyncio.sleep(0)
            self.each()


@dataclass
class Server:
    """One Lease as the API server keeps it."""

    lease: Object | None = None
    away: bool = False
    version: int = 0

    def take(self, method: str, path: str, body: Object | None) -> tuple[int, Object]:
        if self.away:
            raise Retry("no answer")
        if method == "GET":
            assert path == f"{PATH}/operator"
            return (200, self.lease) if self.lease else (404, {})
        assert body is not None
        if method == "POST":
            if self.lease is not None:
                return 409, {"reason": "AlreadyExists"}
            return 201, self.store(body | {"metadata": body["metadata"] | {"uid": "u"}})
        if self.lease is None:
            return 404, {}
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return 409, {"reason": "Conflict"}
        return 200, self.store(body)

    def store(self, body: Object) -> Object:
        self.version += 1
        self.lease = body | {"metadata": body["metadata"] | {"resourceVersion": str(self.version)}}
        return self.lease

    @property
    def holder(self) -> str:
        return str(((self.lease or {}).get("spec") or {}).get("holderIdentity", ""))


@dataclass
class Operator:
    """A process with a candidate in it that can be frozen at any await."""

    server: Server
    time: Time
    name: str
    serves: str = ""
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    cut: bool = False

    def __post_init__(self) -> None:
        self.thawed.set()
        self.fence = Fence(self.time)
        seat = Seat("system", "operator", self.serves)
        self.election = Election(self, seat, TERMS, self.fence, self.name, self.sleep)
        self.task = asyncio.create_task(self._live())

    async def _live(self) -> None:
        await self.election.win()
        await self.election.hold()

    async def sleep(self, seconds: float) -> None:
        await self.time.sleep(seconds)
        await self.thawed.wait()

    async def once(self, method: str, path: str, body: Object | None, seconds: float) -> tuple[int, Object]:
        await self.thawed.wait()
        if self.cut:
            raise Retry("no route to the API server")
        answer = self.server.take(method, path, body)
        await asyncio.sleep(0)
        await self.thawed.wait()
        return answer

    def may_write(self) -> bool:
        return self.fence.left > 0

    async def kill(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.fence.close()

    async def again(self) -> "Operator":
        """Itself; or the next process, when this one has ended."""
        if not self.task.done():
            return self
        await self.kill()
        return Operator(self.server, self.time, self.name)
