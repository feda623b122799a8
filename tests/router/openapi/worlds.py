"""A router that can answer everything: models that are awake, one that wakes when it is called, a route, a pull."""

import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any

from dormouse_api.lease import Wish
from dormouse_api.names import LABEL_MODEL, runtime_name
from dormouse_router.cluster import Object, Resource
from dormouse_router.store import open_store
from tests.engine.engine import scripted
from tests.router.dialects.records import known_status, model
from tests.router.fakes import SETTINGS, FakeCluster, Stage, slice_of, stage, until

CHAT, VECTORS, SLEEPING, ROUTE = "tiny", "vectors", "drowsy", "both"
ALL_ABILITIES = ["completion", "tools", "thinking", "insert", "vision", "embedding", "audio", "speech", "image"]


class Obliging(FakeCluster):
    """An API server with an operator behind it that has every model ready at once, and awake when it is asked for."""

    def __init__(self, aliases: Iterable[str]) -> None:
        """`aliases`: more names of CHAT."""
        super().__init__()
        self._aliases = list(aliases)
        self.ports: dict[str, int] = {}
        """The engine of each model; one that is pulled later gets that of CHAT, which then answers for a name it does
        not know: 404."""
        self.on_lease_write = self._rouse

    async def create_model(self, meta: Object, spec: Object, *, dry_run: bool = False) -> None:
        await super().create_model(meta, spec, dry_run=dry_run)
        namespace, name = meta["namespace"], meta["name"]
        made = model(name, namespace=namespace, status=known_status())
        self.put(Resource.MODELS, made | {"spec": spec})

    def _rouse(self, namespace: str, lease: str, wish: Wish) -> None:
        if wish.ends <= time.time():
            return
        found = next((name for ns, name in self.objects[Resource.MODELS] if runtime_name(name) == lease), None)
        if found is not None:
            self.put(Resource.SLICES, slice_of(found, self.ports.get(found, self.ports[CHAT]), namespace=namespace))

    async def delete_model(self, namespace: str, name: str, uid: str) -> None:
        await super().delete_model(namespace, name, uid)
        for key, obj in list(self.objects[Resource.SLICES].items()):
            if (key[0], obj["metadata"]["labels"][LABEL_MODEL]) == (namespace, name):
                self.remove(Resource.SLICES, *key)
        if name in self.ports:
            self.offer(name, awake=True)  # the router still wishes it awake, and would not say so again

    def offer(self, name: str, *, awake: bool) -> None:
        """A model that can do everything; it is made again whenever a client deletes it."""
        aliases = self._aliases if name == CHAT else []
        status = known_status(capabilities=ALL_ABILITIES)
        self.add_model(model(name, status=status, aliases=aliases, scaling={"holdSeconds": 5}))
        if awake:
            self.put(Resource.SLICES, slice_of(name, self.ports[name]))


@contextlib.asynccontextmanager
async def world(aliases: Iterable[str] = (), **settings: Any) -> AsyncIterator[Stage]:
    """The router, its models and their engines. `aliases`: more names of the first model."""
    cluster = Obliging(aliases)
    async with contextlib.AsyncExitStack() as stack:
        for name in (CHAT, VECTORS, SLEEPING):
            engine = await stack.enter_async_context(scripted(name, media=True))
            cluster.ports[name] = engine.port
            cluster.offer(name, awake=name != SLEEPING)
        cluster.add_route(ROUTE, (CHAT, 1), (VECTORS, 1))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="dormouse-judge-"))
        settings |= {"database_url": f"sqlite:///{folder}/one.db", "files": f"file://{folder}/files"}
        keeping = await stack.enter_async_context(open_store(replace(SETTINGS, **settings)))
        made = await stack.enter_async_context(stage(keeping, cluster, **settings))
        await until(lambda: made.endpoints(CHAT) == 1 and made.endpoints(VECTORS) == 1)
        yield made
