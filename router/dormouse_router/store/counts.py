"""Counters of limits in Redis or Valkey: `access.shared.Counts`. All of one minute's in one message."""

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dormouse_router.request import Refusal

log = structlog.get_logger()
SECONDS = 1.0
"""Longest wait for the server: requests wait for it, and it answers in a thousandth of that."""
LIVES = 150
_PREFIX = "dormouse:limit:"


class ValkeyCounts:
    """Of one server."""

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        """ValueError where `url` is none of a server. `seconds`: longest wait for it."""
        server = "redis" + url.removeprefix("valkey") if url.startswith("valkey") else url
        self._redis = Redis.from_url(server, protocol=2, socket_timeout=seconds, socket_connect_timeout=seconds)
        self._away = False

    async def add(self, amounts: dict[str, int]) -> list[int]:
        try:
            async with self._redis.pipeline(transaction=False) as all_of_it:
                for name, amount in amounts.items():
                    all_of_it.incrby(_PREFIX + name, amount)
                    all_of_it.expire(_PREFIX + name, LIVES)
                answers = await all_of_it.execute()
        except (RedisError, OSError) as error:
            if not self._away:
                log.error(
                    "the server of the limits, DORMOUSE_ACCESS_LIMITS, cannot be used: mend it, or set another; until "
                    "then each router counts for itself",
                    error=str(error),
                )
            self._away = True
            raise Refusal(503, "The server of the limits is away.", retry_after=SECONDS) from error
        if self._away:
            log.info("the server of the limits is there again")
        self._away = False
        return [int(answer) for answer in answers[::2]]

    async def close(self) -> None:
        await self._redis.aclose()
