"""The real client of the API server over the world in memory, with one request that goes wrong in a way of its own.

`Wire` takes requests as HTTP would carry them: whatever `kube` makes of an answer, a status or a silence is tried, too.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp

from dormouse_operator.answers import silence
from dormouse_operator.errors import Terminal
from dormouse_operator.kube import RESOURCES, Kube
from dormouse_operator.reconcile import Api
from dormouse_operator.wire import NONE, TIMEOUT, Wire
from tests.operator.bench import Bench
from tests.operator.world import KilledError, World

Object = dict[str, Any]
Answer = tuple[int, Object]
KINDS = {(resource.prefix, resource.plural): kind for kind, resource in RESOURCES.items()}
READS = "GET"


class Fault(Enum):
    """What becomes of one request."""

    KILLED_BEFORE = "the process is killed before it is sent"
    KILLED_AFTER = "the process is killed when it was carried out, before the answer"
    CONFLICT = "409"
    TOO_MANY = "429 with Retry-After"
    INTERNAL = "500"
    UNAVAILABLE = "503"
    LOST_BEFORE = "no answer, and not carried out"
    LOST_AFTER = "no answer, but carried out"


ANSWERS: dict[Fault, Answer] = {
    Fault.CONFLICT: (409, {"reason": "Conflict", "message": "the object has been modified"}),
    Fault.TOO_MANY: (429, {"reason": "TooManyRequests", "message": "later", "details": {"retryAfterSeconds": 1}}),
    Fault.INTERNAL: (500, {"reason": "InternalError", "message": "etcdserver: leader changed"}),
    Fault.UNAVAILABLE: (503, {"reason": "ServiceUnavailable", "message": "not now"}),
}


@dataclass
class Line:
    """All requests, over every process there was. The fault is of number `at`, and of so many as it `lasts`."""

    world: World
    at: int = 0
    fault: Fault | None = None
    lasts: int = 1
    seen: list[str] = field(default_factory=list)
    """Method and kind of each request, in order."""

    async def carry(self, method: str, url: str, body: Object | None) -> Answer:
        """One request's answer, or what ends it."""
        kind, perform = self._parse(method, url, body)
        self.seen.append(f"{method} {kind}")
        hit = self.fault is not None and self.at <= len(self.seen) < self.at + self.lasts
        fault = self.fault if hit else None
        if fault in ANSWERS:
            return ANSWERS[fault]
        if fault is Fault.KILLED_BEFORE:
            raise KilledError
        if fault is Fault.LOST_BEFORE:
            raise aiohttp.ServerDisconnectedError
        answer: Answer = await perform()
        if fault is Fault.KILLED_AFTER:
            raise KilledError
        if fault is Fault.LOST_AFTER:
            raise TimeoutError
        return answer

    def _parse(self, method: str, url: str, body: Object | None) -> tuple[str, Callable[[], Any]]:
        parts, query = urlsplit(url), {k: v[0] for k, v in parse_qs(urlsplit(url).query).items()}
        prefix, _, rest = parts.path.partition("/namespaces/")
        namespace: str | None = None
        if rest:
            namespace, _, tail = rest.partition("/")
            words = tail.split("/")
        else:
            prefix, plural = parts.path.rsplit("/", 1)
            words = [plural]
            if (prefix, plural) not in KINDS:  # a cluster-scoped object
                prefix, plural = prefix.rsplit("/", 1)
                words = [plural, parts.path.rsplit("/", 1)[1]]
        plural, name, sub = (*words, "", "")[:3]
        kind = KINDS[prefix, plural]
        return f"{kind}/status" if sub else kind, self._action(method, (kind, namespace, name, sub), query, body)

    def _action(
        self, method: str, what: tuple[str, str | None, str, str], query: dict[str, str], body: Object | None
    ) -> Callable[[], Any]:
        kind, namespace, name, sub = what
        world = self.world

        async def get() -> Answer:
            if name:
                found = await world.get(kind, namespace, name)
                return (200, found) if found is not None else (404, {})
            if kind == "Event":
                return 200, {"items": await world.notices(namespace or "", query["fieldSelector"].split("=")[1])}
            return 200, {"items": await world.list(kind, namespace, query.get("labelSelector", ""))}

        async def patch() -> Answer:
            assert body is not None
            try:
                if sub:
                    return (200, {}) if await world.apply_status(body) else (404, {})
                return 200, await world.apply(body)
            except Terminal as error:
                return 422, {"message": str(error)}

        async def delete() -> Answer:
            assert body is not None
            await world.delete(kind, namespace or "", name, body["preconditions"]["uid"])
            return 200, {}

        return {"GET": get, "PATCH": patch, "DELETE": delete}[method]


class FaultyWire(Wire):
    """One process's way to the line. When the process is dead nothing of it reaches the line any more."""

    def __init__(self, line: Line) -> None:
        super().__init__(None)
        self._line = line
        self._dead = False

    async def ask(
        self,
        method: str,
        url: str,
        body: Object | bytes | None = None,
        headers: Mapping[str, str] = NONE,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> Answer:
        if self._dead:
            raise KilledError
        try:
            return await self._line.carry(method, url, json.loads(body) if isinstance(body, bytes) else body)
        except KilledError:
            self._dead = True
            raise
        except (aiohttp.ClientError, TimeoutError) as error:
            raise silence(error) from error


class FaultyBench(Bench):
    """A bench whose operator dies and is started again where the fault says so. Begins with a new process."""

    def __init__(self, world: World) -> None:
        self.line = Line(world)
        super().__init__(world)

    def arm(self, at: int, fault: Fault, lasts: int) -> None:
        """Let the request that is `at` from now go wrong."""
        self.line.at, self.line.fault, self.line.lasts = len(self.line.seen) + at, fault, lasts

    def api(self) -> Api:
        return Kube(wire=FaultyWire(self.line))

    async def work(self) -> int:
        try:
            return await super().work()
        except KilledError:
            self.start()
            return 1
