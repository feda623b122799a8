"""Asks every router pod how many requests each model has in flight or held, and keeps what they said for a while.

Owns the poll; knows nothing of replicas. A model gets a look when its demand begins or ends, and one that may have
several pods at every poll while it has any.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping

import aiohttp
from pydantic import ValidationError

from dormouse_api import demand as wire
from dormouse_operator.decide.autoscale import CALM_SECONDS, history_seconds
from dormouse_operator.decide.pool import Traffic
from dormouse_operator.engines import Engines
from dormouse_operator.firsts import Firsts
from dormouse_operator.observed import Demand, Pressure, Sample, Tally
from dormouse_operator.queue import Key
from dormouse_operator.tally import Tallies
from dormouse_operator.traffic import Heard

log = logging.getLogger(__name__)

WINDOW = history_seconds(CALM_SECONDS[1])
"""Seconds a sample is kept."""
STANDS_SECONDS = 60.0
"""So old may be what a router said that is there and does not answer now: it may be busy with the very calls whose pods
would be taken away."""
TIMEOUT = aiohttp.ClientTimeout(total=2, sock_connect=1)


class Board:
    """What the routers said. Pure but for the clock it is given."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: dict[Key, deque[Sample]] = {}

    def take(
        self,
        answers: Iterable[wire.Demand],
        sized: Collection[Key] = (),
        pressures: Mapping[Key, Pressure] | None = None,
    ) -> set[Key]:
        """One poll of all routers, and of engines; the models to look at. Of `sized` ones it is kept, too, that nobody
        calls them.
        """
        now, total = self._clock(), dict.fromkeys((*self._samples, *sized), 0)
        for answer in answers:
            for name, model in answer.models.items():
                namespace, _, plain = name.partition("/")
                key = Key(namespace, plain)
                total[key] = total.get(key, 0) + model.in_flight + model.held
        changed: set[Key] = set()
        for key, count in total.items():
            samples = self._samples.setdefault(key, deque())
            if (count and key in sized) or bool(count) != bool(samples and samples[-1].load):
                changed.add(key)
            samples.append(Sample(now, count, (pressures or {}).get(key)))
            since = max(samples[0].at, now - WINDOW)
            while samples[0].at < since:
                samples.popleft()
            if any(sample.load for sample in samples):
                continue
            if key in sized:  # for how long nobody has called it is all there is to know
                self._samples[key] = deque((Sample(since, 0), Sample(now, 0)))
            else:
                del self._samples[key]
        return changed

    def of(self, key: Key) -> Demand | None:
        """The model's demand; None when nothing is known of it."""
        samples = self._samples.get(key)
        return Demand(tuple(samples)) if samples else None


class Words:
    """What each router said last, which stands for a while for one that does not answer. Pure but for the clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[str, tuple[float, wire.Demand]] = {}

    def take(self, told: Mapping[str, wire.Demand | None]) -> list[wire.Demand]:
        """One poll, by the routers' addresses; an answer of each, but for those that have said nothing lately. Who is
        not among them is gone.
        """
        now = self._clock()
        fresh = {ip: (now, answer) for ip, answer in told.items() if answer is not None}
        kept = {ip: said for ip, said in self._last.items() if ip in told and now - said[0] <= STANDS_SECONDS}
        self._last = kept | fresh
        return [answer for _, answer in self._last.values()]


class Demands:
    """Polls the routers behind `address` (host:port of a headless Service; empty: nobody is asked)."""

    def __init__(self, address: str, changed: Callable[[Key], None], every: float) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port or 0)
        self._changed = changed
        self._every = every
        self._board = Board()
        self._words = Words()
        self._heard = Heard()
        self._tallies = Tallies()
        self._firsts = Firsts()
        self._sized: dict[Key, tuple[str, ...]] = {}
        self._engines = Engines()

    def size(self, key: Key, wanted: bool, engines: tuple[str, ...] = ()) -> None:
        """Whether the model is to be looked at after every poll while it has demand: it may have several pods.
        `engines`: addresses of those that are ready, to be asked for their own queues.
        """
        if wanted:
            self._sized[key] = engines
        else:
            self._sized.pop(key, None)

    def of(self, key: Key) -> Demand | None:
        """The model's demand, if any router has told of it lately."""
        return self._board.of(key)

    def traffic(self, key: Key, now: float) -> Traffic | None:
        """The model's calls as all routers told of them lately; `now` in seconds since the epoch."""
        return self._heard.of(key, now)

    def tally(self, key: Key) -> Tally:
        """What has been heard of the model's calls since it was last settled."""
        return self._tallies.of(key)

    def first_token(self, key: Key) -> float | None:
        """When the first stream that waited for the last wake had its first token, if that was lately."""
        return self._firsts.of(key)

    def settled(self, key: Key, written: Tally | None) -> None:
        """`written` is in the model's status; None: the model is gone."""
        if written is None:
            self._tallies.forget(key)
        else:
            self._tallies.settled(key, written)

    async def run(self) -> None:
        """Poll until cancelled."""
        if not self._host:
            return
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            while True:
                began, routers = time.time(), await self._routers()
                pressures, told = await asyncio.gather(
                    self._engines.ask(session, self._sized),
                    asyncio.gather(*(self._ask(session, ip) for ip in routers)),
                )
                answers = [answer for answer in told if answer is not None]
                self._heard.take(began, answers, whole=bool(routers) and len(answers) == len(routers))
                self._tallies.take(time.monotonic(), answers)
                fresh = self._firsts.take(time.time(), answers)
                words = self._words.take(dict(zip(routers, told, strict=True)))
                for key in self._board.take(words, self._sized, pressures) | fresh:
                    self._changed(key)
                await asyncio.sleep(self._every)

    async def _routers(self) -> list[str]:
        with contextlib.suppress(OSError):
            found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            return sorted({str(entry[4][0]) for entry in found})
        return []

    async def _ask(self, session: aiohttp.ClientSession, ip: str) -> wire.Demand | None:
        host = f"[{ip}]" if ":" in ip else ip
        try:
            async with session.get(f"http://{host}:{self._port}/demand") as response:
                response.raise_for_status()
                return wire.Demand.model_validate_json(await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            log.debug("router %s does not tell its demand: %r", ip, error)
            return None
