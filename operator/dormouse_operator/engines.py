"""Asks the engines of models that may have several pods for their own queues and caches. Decides nothing.

The pods' metrics are asked directly, for only the operator needs them at every tick: through the routers each of these
would ask each engine. Of an engine that does not tell (another engine, an older version) nothing is known.
"""

import asyncio
import logging
from collections.abc import Mapping

import aiohttp

from dormouse_api.names import PORT_SERVING
from dormouse_operator.observed import Pressure
from dormouse_operator.queue import Key

log = logging.getLogger(__name__)

WAITING = "vllm:num_requests_waiting"
CACHE_USED = ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc")
"""The name of today and the one before it. A share, 0 to 1."""
AT_ONCE = 16
SECONDS = 1.5
LARGEST_ANSWER = 4 * 1024 * 1024


def told(text: str) -> tuple[int, float] | None:
    """(requests in the engine's queue, share of its cache in use) of an exposition; None where it tells neither."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith((WAITING, *CACHE_USED)):
            name = line.partition("{")[0].partition(" ")[0]
            value = float(line.rpartition(" ")[2])
            # an engine may be several, each with a cache of its own
            found[name] = found.get(name, 0.0) + value if name == WAITING else max(found.get(name, 0.0), value)
    cache = next((found[name] for name in CACHE_USED if name in found), None)
    if WAITING not in found and cache is None:
        return None
    return round(found.get(WAITING, 0.0)), min(1.0, max(0.0, cache or 0.0))


def pressure(answers: list[tuple[int, float] | None]) -> Pressure | None:
    """Of all engines of a model; None unless each of them tells."""
    known = [answer for answer in answers if answer is not None]
    if not known or len(known) < len(answers):
        return None
    mean = sum(cache for _, cache in known) / len(known)
    return Pressure(len(known), sum(waiting for waiting, _ in known), round(mean, 3))


class Engines:
    """One per process. `port` is the engines' own."""

    def __init__(self, port: int = PORT_SERVING) -> None:
        self._port = port
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def ask(self, session: aiohttp.ClientSession, hosts: Mapping[Key, tuple[str, ...]]) -> dict[Key, Pressure]:
        """What the engines of these models say now, all asked at once; a model of which not all tell is left out."""
        keys = [key for key, addresses in hosts.items() if addresses]
        answers = await asyncio.gather(*(self._model(session, hosts[key]) for key in keys))
        return {key: found for key, found in zip(keys, answers, strict=True) if found is not None}

    async def _model(self, session: aiohttp.ClientSession, hosts: tuple[str, ...]) -> Pressure | None:
        return pressure(await asyncio.gather(*(self._one(session, host) for host in hosts)))

    async def _one(self, session: aiohttp.ClientSession, host: str) -> tuple[int, float] | None:
        url = f"http://[{host}]:{self._port}/metrics" if ":" in host else f"http://{host}:{self._port}/metrics"
        async with self._gate:
            try:
                async with asyncio.timeout(SECONDS), session.get(url, allow_redirects=False) as response:
                    response.raise_for_status()
                    body = bytearray()
                    async for piece in response.content.iter_any():
                        body += piece
                        if len(body) > LARGEST_ANSWER:
                            raise ValueError(f"more than {LARGEST_ANSWER} bytes of metrics")
                return told(body.decode(errors="replace"))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                log.debug("%s does not tell of its queue: %r", url, error)
                return None
