"""Histories of chats in Redis or Valkey: `keeping.Sessions`, shared by every router that names the same server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dormouse_router.keeping import Message
from dormouse_router.request import Refusal
from dormouse_router.store.turns import joined, parted, session_key

log = structlog.get_logger()
SECONDS = 5.0
RETRY_AFTER = 5.0
_APPEND = """
local keep, ttl = tonumber(ARGV[1]), tonumber(ARGV[2])
if ARGV[3] ~= '' then redis.call('SET', KEYS[2], ARGV[3]) end
for i = 4, #ARGV do redis.call('RPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], -keep, -1)
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
"""
"""One turn, whole: a script runs alone on the server. Both keys end together, for both are renewed together."""


@contextlib.asynccontextmanager
async def opened(url: str) -> AsyncIterator["ValkeySessions"]:
    """The sessions of the server at `url`, which is looked at once in the background. ValueError: it is no URL."""
    sessions = ValkeySessions(url)
    pinging = asyncio.create_task(sessions.ping())
    try:
        yield sessions
    finally:
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        await sessions.close()


class ValkeySessions:
    """A list of messages and a system message for each session; the braces keep both on one node of a cluster."""

    def __init__(self, url: str) -> None:
        """ValueError where `url` is none of a server."""
        server = "redis" + url.removeprefix("valkey") if url.startswith("valkey") else url
        # of the newer protocol the client expects messages at any time, and takes a closed connection for an open one
        self._redis = Redis.from_url(server, protocol=2, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
        self._append = self._redis.register_script(_APPEND)
        self.trouble: str | None = None
        """Why it could not be used the last time."""

    async def history(self, owner: str, session: str) -> list[Message]:
        listed, system = _keys(owner, session)
        async with self._reached(), self._redis.pipeline(transaction=True) as both:
            both.lrange(listed, 0, -1)
            both.get(system)
            kept, first = await both.execute()
        return joined(first, kept)

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        system, others = parted(messages)
        async with self._reached():
            await self._append(keys=_keys(owner, session), args=[keep, int(ttl * 1000), system or b"", *others])

    async def delete(self, owner: str, session: str) -> bool:
        async with self._reached():
            return bool(await self._redis.delete(*_keys(owner, session)))

    async def ping(self) -> None:
        """Find out whether the server is there; `trouble` says why not."""
        with contextlib.suppress(Refusal):
            async with self._reached():
                await self._redis.ping()

    async def close(self) -> None:
        await self._redis.aclose()

    @contextlib.asynccontextmanager
    async def _reached(self) -> AsyncIterator[None]:
        """What goes wrong within becomes `trouble`, the log's sentence and a Refusal."""
        try:
            yield
        except (RedisError, OSError) as error:
            self._say(str(error))
            raise Refusal(
                503,
                "The histories of chats cannot be reached now: send the request again later, or without session_id. "
                "Whoever operates the router finds the reason in its log.",
                code="store_unavailable",
                retry_after=RETRY_AFTER,
            ) from error
        if self.trouble is not None:
            log.info("the server of the histories is there again")
        self.trouble = None

    def _say(self, reason: str) -> None:
        sentence = (
            f"the server of the histories, DORMOUSE_SESSIONS, cannot be used: {reason}: mend it, or set another; "
            "chats without a session_id are served"
        )
        if sentence != self.trouble:
            log.error(sentence)
        self.trouble = sentence


def _keys(owner: str, session: str) -> list[str]:
    key = session_key(owner, session)
    return [f"dormouse:session:{{{key}}}:messages", f"dormouse:session:{{{key}}}:system"]
