"""How the worker asks a router: one line, one POST, over kept connections.

The data plane's own connection and pool, for a general client costs ten times as much per call. Knows nothing of
batches; decides nothing: what an answer means is `batch.outcome`'s.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from dormouse_router.batch import answers
from dormouse_router.batch.outcome import Answer
from dormouse_router.behalf import OWNER, PACE, TEAMS, WORKER
from dormouse_router.dataplane.connection import Answer as Flow
from dormouse_router.dataplane.connection import Connection, Unreachable
from dormouse_router.dataplane.upstream import Pool
from dormouse_router.request import HOLD, Refusal, UpstreamCut

CONNECT_SECONDS = 5.0


class Told(NamedTuple):
    """What a router said."""

    answer: Answer
    pace: float | None = None
    """Seconds per token that interactive calls of the model take now, where there are any."""
    held: float = 0.0
    """Seconds that the call has waited for its model."""


class Client:
    """Calls one router, or the Service of several."""

    def __init__(self, url: str, name: str, silence: float) -> None:
        """`name` is the worker's (`behalf`), `silence` seconds without a byte after which an answer is given up."""
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._base = parts.path.rstrip("/")
        self._pool = Pool(CONNECT_SECONDS, silence)
        self._clock = asyncio.get_running_loop().time
        host = f"[{self._host}]" if ":" in self._host else self._host
        self._head = f" HTTP/1.1\r\nhost: {host}:{self._port}\r\ncontent-type: application/json\r\n"
        self._name = name

    def on_behalf(self, path: str, owner: str, teams: Sequence[str] = ()) -> str:
        """What the heads of all calls of one batch have in common."""
        return f"POST {self._base}{path}{self._head}{self._names(owner, teams)}"

    def _names(self, owner: str | None, teams: Sequence[str]) -> str:
        if owner is None:
            return f"{WORKER.decode()}: {self._name}\r\n"
        told = f"{TEAMS.decode()}: {','.join(quote(team, safe='') for team in teams)}\r\n" if teams else ""
        return f"{WORKER.decode()}: {self._name}\r\n{OWNER.decode()}: {owner}\r\n{told}"

    async def ask(self, common: str, body: bytes, request_id: str, hold: float) -> Told:
        """One line's answer, whatever it is. `hold`: seconds that it may wait for its model to wake."""
        head = (
            f"{common}x-request-id: {request_id}\r\n{HOLD.decode()}: {hold:.0f}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        try:
            return await self._exchange(head.encode("latin-1"), body)
        except (Unreachable, UpstreamCut, Refusal, OSError) as error:
            return Told(Answer(0, str(error).encode()))

    async def get(self, path: str, owner: str | None = None, teams: Sequence[str] = ()) -> tuple[int, bytes]:
        """Status and body, as `owner` sees it, or the worker itself. Status 0: nobody answered."""
        head = f"GET {self._base}{path}{self._head}{self._names(owner, teams)}content-length: 0\r\n\r\n"
        try:
            answer = (await self._exchange(head.encode("latin-1"), b"")).answer
        except (Unreachable, UpstreamCut, Refusal):
            return 0, b""
        return answer.status, answer.body

    async def sweep(self) -> None:
        """For ever."""
        await self._pool.sweep()

    def close(self) -> None:
        self._pool.close()

    async def _exchange(self, head: bytes, body: bytes) -> Told:
        pool, host, port = self._pool, self._host, self._port
        kept = pool.take(host, port, self._clock())
        connection = kept or await pool.connect(host, port)
        try:
            return await self._over(connection, head, body)
        except Unreachable:
            if kept is None:
                raise
        finally:
            pool.give_back(host, port, connection, self._clock())
        connection = await pool.connect(host, port)  # the kept one had been closed meanwhile
        try:
            return await self._over(connection, head, body)
        finally:
            pool.give_back(host, port, connection, self._clock())

    async def _over(self, connection: Connection, head: bytes, body: bytes) -> Told:
        flow = connection.send(head, body)
        await flow.head()
        return _told(flow, await flow.body())


def _told(flow: Flow, body: bytes) -> Told:
    status = flow.status
    if status == 200:
        pace, held = _PACE.search(flow.raw), _HELD.search(flow.raw)
        return Told(Answer(200, body), float(pace[1]) if pace else None, int(held[1]) / 1000 if held else 0.0)
    headers = dict(flow.headers)
    should = {b"true": True, b"false": False}.get(headers.get(b"x-should-retry", b""))
    return Told(Answer(status, body, answers.code(body), _seconds(headers), should))


_PACE = re.compile(rb"\r\n" + PACE + rb": ?(\d+\.\d+)\r\n")
_HELD = re.compile(rb"\r\nx-dormouse-hold-ms: ?(\d+)\r\n")


def _seconds(headers: dict[bytes, bytes]) -> float | None:
    """Of Retry-After; a date, which no router of ours sends, is none."""
    given = headers.get(b"retry-after", b"")
    return float(given) if given.isdigit() else None
