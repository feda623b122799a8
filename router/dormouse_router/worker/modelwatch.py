"""What a router says of the models that batches ask for: whether they are awake, and what they share devices with."""

import asyncio
from collections.abc import Callable, Collection
from urllib.parse import quote

import msgspec

from dormouse_router.batch.lifecycle import Batch
from dormouse_router.request import Refusal
from dormouse_router.worker.client import Client

FRESH_SECONDS = 1.0
MOST_AT_ONCE = 8
ASKED, ASK_PAUSE = 10, 0.2
MOST_MODELS = 256
"""Models that are looked at; of more, the rest count as not known until some are done."""
AWAKE = "awake"


class Model(msgspec.Struct):
    """Of GET /models/{name}; a route has none of it."""

    state: str = ""
    profile: str | None = None

    @property
    def awake(self) -> bool:
        return self.state == AWAKE


UNKNOWN = Model()
_model = msgspec.json.Decoder(Model)


class ModelWatch:
    """Asks when it is asked, at most once a second for each model."""

    def __init__(self, client: Client, clock: Callable[[], float]) -> None:
        self._client, self._clock = client, clock
        self._known: dict[str, tuple[float, Model]] = {}
        self._places = asyncio.Semaphore(MOST_AT_ONCE)

    async def look(self, names: Collection[str]) -> dict[str, Model]:
        """Each of `names` as far as it is known."""
        wanted = list(names)[:MOST_MODELS]
        self._known = {name: self._known[name] for name in wanted if name in self._known}
        await asyncio.gather(*(self._refresh(name) for name in wanted))
        return {name: self._known[name][1] if name in self._known else UNKNOWN for name in names}

    async def serves(self, batch: Batch, name: str) -> bool:
        """Whether there is a model or route of that name for the batch's maker. Refusal 503 while nobody can say."""
        for _ in range(ASKED):
            status, _ = await self._client.get(_path(name), batch.owner, batch.rights.teams)
            if status != 503:
                break
            await asyncio.sleep(ASK_PAUSE)  # a router that does not know this worker yet is about to
        if status in (200, 404):
            return status == 200
        raise Refusal(503, f"The router cannot say now whether there is a model {name[:200]} (status {status}).")

    async def _refresh(self, name: str) -> None:
        now = self._clock()
        if name in self._known and self._known[name][0] > now - FRESH_SECONDS:
            return
        async with self._places:
            status, body = await self._client.get(_path(name))
        if status == 200:
            try:
                self._known[name] = (now, _model.decode(body))
            except msgspec.DecodeError:
                self._known[name] = (now, UNKNOWN)
        elif status == 404:
            self._known[name] = (now, UNKNOWN)


def _path(name: str) -> str:
    return f"/models/{quote(name, safe='/:@')}"
