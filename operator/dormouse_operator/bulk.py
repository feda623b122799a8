"""Reads the children of many models at once, for looks that come from a long line: first lists, resyncs, bursts.

Such a reading is as good as one of its own for every look that was asked for before it began: whatever happens later
has an event of its own. It is older by the time it is used, though, so nothing may be written from it (`reconcile`
reads again, alone, before it writes). Owns when to read for many, and for whom; knows nothing of what is made of it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from dormouse_api import names
from dormouse_operator.queue import Key

Object = dict[str, Any]

KINDS = ("Deployment", "Lease", "Service", "PersistentVolumeClaim", "Pod")
FEW = 8
"""So many that wait in line are looked at one by one."""
MANY = 50
"""Models of one reading, which bounds what is kept: a tenth of a megabyte each."""


class Source(Protocol):
    """What a look reads its model's children from: the API server (`kube.Kube`), or a shelf."""

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None: ...
    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]: ...


class Line(Protocol):
    """The part of `queue.WorkQueue` that is needed."""

    def moment(self) -> int: ...
    def asked(self, key: Key) -> int: ...
    def beside(self, key: Key, most: int) -> list[Key]: ...
    def hurries(self, key: Key) -> bool: ...


class Shelf:
    """One model's children as a reading for many found them; to be used once. Read from it as from the API server."""

    def __init__(self, api: Source, began: int) -> None:
        self.began = began
        self._api = api
        self._found: dict[str, list[Object]] = {kind: [] for kind in KINDS}

    def put(self, kind: str, item: Object) -> None:
        """One of its children."""
        self._found[kind].append(item)

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """The child; what has not our labels, or is not there, the API server is asked for by name."""
        found = next((item for item in self._found.get(kind, ()) if item["metadata"]["name"] == name), None)
        return await self._api.get(kind, namespace, name) if found is None else found

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        """The model's children of a kind: the selector can ask for nothing else here."""
        return self._found[kind]

    def drop(self) -> None:
        """Nobody wants the rest: there is nothing under way."""


class Bulk:
    """One per process."""

    def __init__(self, api: Source, line: Line, served: Iterable[str]) -> None:
        """`served`: the namespaces that may be read; none means all of them."""
        self._api = api
        self._line, self._served = line, tuple(served)
        self._shelves: dict[Key, Shelf] = {}
        self._lock = asyncio.Lock()

    async def of(self, key: Key) -> Shelf | None:
        """The model's children as read for many; None where too few wait beside it for that to be worth it."""
        if (shelf := self._taken(key)) is not None:
            return shelf
        if len(self._line.beside(key, FEW)) < FEW:
            return None
        async with self._lock:
            if (shelf := self._taken(key)) is not None:  # read while this look waited
                return shelf
            await self._read({key, *self._line.beside(key, MANY)})
            return self._taken(key)

    def hurries(self, key: Key) -> bool:
        """Whether somebody waits for this look."""
        return self._line.hurries(key)

    def _taken(self, key: Key) -> Shelf | None:
        shelf = self._shelves.pop(key, None)
        return shelf if shelf is not None and shelf.began > self._line.asked(key) else None

    async def _read(self, keys: set[Key]) -> None:
        began = self._line.moment()
        shelves = {key: Shelf(self._api, began) for key in keys}
        spaces: set[str | None] = {key.namespace for key in keys}
        if len(spaces) > 1 and not self._served:
            spaces = {None}
        # names of models are label values, and of at most 40 characters: a few kilobytes of URL
        selector = f"{names.SELECTOR},{names.LABEL_MODEL} in ({','.join(sorted({key.name for key in keys}))})"
        asked = [(kind, space) for kind in KINDS for space in spaces]
        found = await asyncio.gather(*(self._api.list(kind, space, selector) for kind, space in asked))
        for (kind, _), items in zip(asked, found, strict=True):
            for item in items:
                meta = item["metadata"]
                shelf = shelves.get(Key(meta["namespace"], meta["labels"][names.LABEL_MODEL]))
                if shelf is not None:  # another namespace may have a model of that name
                    shelf.put(kind, item)
        self._shelves = shelves
