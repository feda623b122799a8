"""Histories of chats in Redis or Valkey: `keeping.Sessions`, shared by every router that names the same server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis
from redis.exceptions import RedisError

from dormouse_router.keeping import Message
from dormouse_router.request import Refusal
from dormouse_router.store.sessions import decode, parted, session_key

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


class ValkeySessions:
    """A list of messages and a system message for each session; the braces keep both on one node of a cluster."""

    def __init__(self, url: str) -> None:
        """ValueError where `url` is none of a server."""
        server = "redis" + url.removeprefix("valkey") if url.startswith("valkey") else url
        self._redis = Redis.from_url(server, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)
        self._append = self._redis.register_script(_APPEND)

    async def history(self, owner: str, session: str) -> list[Message]:
        listed, system = _keys(owner, session)
        async with _reached(), self._redis.pipeline(transaction=True) as both:
            both.lrange(listed, 0, -1)
            both.get(system)
            kept, first = await both.execute()
        return [decode(body) for body in (first, *kept) if body is not None]

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        system, others = parted(messages)
        async with _reached():
            await self._append(keys=_keys(owner, session), args=[keep, int(ttl * 1000), system or b"", *others])

    async def delete(self, owner: str, session: str) -> bool:
        async with _reached():
            return bool(await self._redis.delete(*_keys(owner, session)))

    async def close(self) -> None:
        await self._redis.aclose()


def _keys(owner: str, session: str) -> list[str]:
    key = session_key(owner, session)
    return [f"dormouse:session:{{{key}}}:messages", f"dormouse:session:{{{key}}}:system"]


@asynccontextmanager
async def _reached() -> AsyncIterator[None]:
    """Refusal 503 where the server is away."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise Refusal(
            503,
            f"Histories of chats are kept in Redis, which cannot be used now ({error}): send the request again later, "
            "or without session_id. Whoever operates the router finds the server's URL in DORMOUSE_SESSIONS.",
            code="store_unavailable",
            retry_after=RETRY_AFTER,
        ) from error
