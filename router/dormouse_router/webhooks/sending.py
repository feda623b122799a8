"""One try: resolve, judge, connect to that very address, send, read a little. Alone in importing an HTTP client.

The name is resolved once, where the connection is made, and what it means is judged there: whatever it means later does
not matter. Redirects are not followed, nothing is decompressed, no proxy and no cookie is known.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from dormouse_router.webhooks.patience import TRY_SECONDS
from dormouse_router.webhooks.receivers import Receiver, Receivers

MOST_ANSWER = 64 * 1024
CONNECT_SECONDS = 5.0
RESOLVERS = 8
"""Names that are resolved at once: the system does it in threads, and some name servers are slow."""
AGENT = "Dormouse-Webhooks/1.0"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a try. `why`: a sentence for the log, where it failed."""

    ok: bool
    why: str = ""
    status: int | None = None
    retry_after: float | None = None

    @property
    def gone(self) -> bool:
        """The receiver says that nobody wants this any more."""
        return self.status == 410


class _ForbiddenError(OSError):
    """The name means nothing that may be called."""


class Sender:
    """`send`; `close` it at the end. One per router, made on its event loop."""

    def __init__(self, receivers: Receivers, tls: ssl.SSLContext | None = None) -> None:
        """`tls`: whose certificates are believed; None: those of the system."""
        self._receivers = receivers
        self._tls: ssl.SSLContext | bool = tls or True  # the library has one, made once
        self._threads = ThreadPoolExecutor(RESOLVERS, "webhook-names")

    async def send(self, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Try once; never raises but when cancelled."""
        if receiver.address is not None:
            # the client connects to addresses without asking the resolver
            refused = self._receivers.refused(receiver.address, trusted=receiver.trusted)
            if refused:
                return Outcome(False, f"{receiver.host} is {refused}")
        try:
            async with asyncio.timeout(TRY_SECONDS), self._session(receiver) as session:
                return await _try(session, receiver, headers, body)
        except TimeoutError:
            return Outcome(False, f"no answer within {TRY_SECONDS:.0f} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            forbidden = _caused_by(error)
            return Outcome(False, str(forbidden or error) or type(error).__name__)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _session(self, receiver: Receiver) -> aiohttp.ClientSession:
        resolver = _Judged(self._receivers, receiver.trusted, self._threads)
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, ssl=self._tls)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TRY_SECONDS, sock_connect=CONNECT_SECONDS),
            auto_decompress=False,
            trust_env=False,
        )


async def _try(session: aiohttp.ClientSession, receiver: Receiver, headers: Mapping[str, str], body: bytes) -> Outcome:
    host = f"[{receiver.host}]" if ":" in receiver.host else receiver.host
    tail = f"?{receiver.query}" if receiver.query else ""
    url = URL(f"{receiver.scheme}://{host}:{receiver.port}{receiver.path}{tail}", encoded=True)
    sent = {"content-type": "application/json", "accept-encoding": "identity", "user-agent": AGENT, **headers}
    async with session.post(url, data=body, headers=sent, allow_redirects=False) as answer:
        await _read(answer)
        if 200 <= answer.status < 300:
            return Outcome(True, status=answer.status)
        why = "it redirects, which is not followed" if 300 <= answer.status < 400 else f"it said {answer.status}"
        after = answer.headers.get("retry-after", "")
        return Outcome(False, why, answer.status, float(after) if after.isascii() and after.isdigit() else None)


async def _read(answer: aiohttp.ClientResponse) -> None:
    """Take what a polite receiver says, so that it may end its answer; no more than a little."""
    left = MOST_ANSWER
    while left > 0 and (piece := await answer.content.read(left)):
        left -= len(piece)


class _Judged(AbstractResolver):
    """The system's resolver, of which only addresses come that may be connected to."""

    def __init__(self, receivers: Receivers, trusted: bool, threads: ThreadPoolExecutor) -> None:
        self._receivers, self._trusted, self._threads = receivers, trusted, threads

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._threads, _resolved, host, port, family)
        for _, address in found:
            # one bad address among good ones is an attempt: nobody's name means both
            if refused := self._receivers.refused(ip_address(address.partition("%")[0]), trusted=self._trusted):
                raise _ForbiddenError(f"{host} is {refused}: {address}")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, address in found
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing of its own."""


def _resolved(host: str, port: int, family: int) -> list[tuple[Any, str]]:
    answers = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return [(kind, str(place[0])) for kind, _, _, _, place in answers]


def _caused_by(error: BaseException) -> _ForbiddenError | None:
    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, _ForbiddenError):
        seen = getattr(seen, "os_error", None) or seen.__cause__
    return seen
