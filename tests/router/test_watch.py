"""The catalogue follows the API server through everything that can happen to a watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from dormouse_api.model import InferenceModelSpec
from dormouse_api.source import Source
from dormouse_router.access.rules import ANYBODY
from dormouse_router.catalog import watch
from dormouse_router.catalog.catalog import Catalog
from dormouse_router.catalog.watch import Watcher
from dormouse_router.cluster import ClusterError, Resource
from dormouse_router.modelstore import Models
from dormouse_router.request import Refusal
from dormouse_router.settings import Settings
from tests.router.fakes import FakeCluster, model, slice_of, until


class Followed:
    """A cluster, and the catalogue that follows it."""

    def __init__(self, namespaces: tuple[str | None, ...] = (None,)) -> None:
        self.cluster = FakeCluster()
        self.catalog = Catalog()
        self.events: list[str] = []
        self.watchers = [
            Watcher(self.cluster, self.catalog, resource, namespace, self.events.append)
            for resource in Resource
            for namespace in namespaces
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Followed"]:
        tasks = [asyncio.create_task(watcher.run()) for watcher in self.watchers]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def names(self) -> list[str]:
        return sorted(entry.record.full_name for entry in self.catalog.entries())

    async def sees(self, *names: str) -> None:
        await until(lambda: self.names() == sorted(names))

    def endpoints(self, name: str) -> int:
        entry = self.catalog.find(name)
        return len(entry.endpoints) if entry else -1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(watch, "LONGEST_PAUSE", 0.02)


async def test_what_is_there_what_comes_what_changes_and_what_goes() -> None:
    followed = Followed()
    followed.cluster.add_model(model("there"))
    async with followed.running():
        await followed.sees("default/there")
        followed.cluster.add_model(model("comes"))
        await followed.sees("default/comes", "default/there")
        followed.cluster.put(Resource.MODELS, model("comes", reason="Gated"))
        await until(lambda: (e := followed.catalog.find("comes")) is not None and e.record.failed)
        followed.cluster.remove(Resource.MODELS, "default", "there")
        await followed.sees("default/comes")
        followed.cluster.put(Resource.SLICES, slice_of("comes", 8000))
        await until(lambda: followed.endpoints("comes") == 1)
        followed.cluster.put(Resource.SLICES, slice_of("comes", 8000, ready=False))
        await until(lambda: followed.endpoints("comes") == 0)
        followed.cluster.put(Resource.SLICES, slice_of("comes", 8000))
        await until(lambda: followed.endpoints("comes") == 1)
        followed.cluster.remove(Resource.SLICES, "default", "comes-8000")
        await until(lambda: followed.endpoints("comes") == 0)
    assert set(followed.events) == {"inferencemodels", "inferenceroutes", "endpointslices"}


async def test_a_deletion_no_watch_tells_of_is_seen_in_the_next_list() -> None:
    followed = Followed()
    followed.cluster.add_model(model("stays"))
    followed.cluster.add_model(model("goes"))
    followed.cluster.put(Resource.SLICES, slice_of("stays", 8000))
    async with followed.running():
        await followed.sees("default/goes", "default/stays")
        await until(lambda: followed.endpoints("stays") == 1)
        entry = followed.catalog.find("stays")
        assert entry is not None
        before = entry.endpoints[0]
        followed.cluster.forget_silently(Resource.MODELS, "default", "goes")
        await followed.sees("default/stays")
        assert entry.endpoints[0] is before  # a fresh list is no change for what stayed


@pytest.mark.parametrize("status", [0, 403, 500, 503, 429])
async def test_an_outage_changes_nothing_and_is_made_good_afterwards(status: int) -> None:
    followed = Followed()
    followed.cluster.add_model(model("tiny"))
    async with followed.running():
        await followed.sees("default/tiny")
        followed.cluster.break_down(status)
        await asyncio.sleep(0.05)
        assert followed.names() == ["default/tiny"]
        followed.cluster.add_model(model("new"))
        followed.cluster.come_back()
        await followed.sees("default/new", "default/tiny")


async def test_the_first_list_is_waited_for() -> None:
    followed = Followed()
    followed.cluster.break_down()
    async with followed.running():
        await asyncio.sleep(0.03)
        assert not any(watcher.synced.is_set() for watcher in followed.watchers)
        followed.cluster.come_back()
        await until(lambda: all(watcher.synced.is_set() for watcher in followed.watchers))


async def test_only_the_namespaces_asked_for() -> None:
    followed = Followed(("a", "b"))
    for namespace in ("a", "b", "c"):
        followed.cluster.add_model(model("tiny", namespace=namespace))
    async with followed.running():
        await followed.sees("a/tiny", "b/tiny")
        followed.cluster.compact()
        followed.cluster.remove(Resource.MODELS, "a", "tiny")
        followed.cluster.add_model(model("late", namespace="c"))
        await followed.sees("b/tiny")


async def test_an_object_that_is_no_model_does_not_stop_the_watch() -> None:
    followed = Followed()
    async with followed.running():
        strange = model("strange")
        strange["spec"] = {"source": {"uri": "ftp://x"}}
        followed.cluster.put(Resource.MODELS, strange)
        followed.cluster.add_model(model("tiny"))
        await followed.sees("default/tiny")


# ---------------------------------------------------------------------------------------------------- the store

SPEC = InferenceModelSpec(source=Source(uri="hf://org/name"))


async def test_a_client_follows_a_model_from_before_it_is_there() -> None:
    followed = Followed()
    store = Models(followed.cluster, followed.catalog, Settings())
    async with followed.running():
        records = store.watch("default", "new")
        assert await anext(records) is None
        await store.create("new", SPEC, ANYBODY)
        first = await anext(records)
        assert first is not None
        assert first.reason == "Pulling"
        assert first.spec.source.uri == "hf://org/name"
        followed.cluster.put(Resource.SLICES, slice_of("new", 8000))
        await until(lambda: followed.endpoints("new") == 1)  # no change of the record: nothing is said
        followed.cluster.put(Resource.MODELS, model("new", reason="ScaledToZero"))
        second = await anext(records)
        assert second is not None
        assert second.reason == "ScaledToZero"
        await store.delete(second, ANYBODY)
        assert await anext(records) is None
        await records.aclose()


@pytest.mark.parametrize(
    ("status", "becomes"), [(409, 409), (403, 403), (404, 404), (422, 400), (400, 400), (0, 503), (500, 503)]
)
async def test_what_the_api_servers_refusals_mean_to_a_client(status: int, becomes: int) -> None:
    cluster = FakeCluster()
    cluster.down = ClusterError(status, "the API server's own sentence")
    with pytest.raises(Refusal) as refused:
        await Models(cluster, Catalog(), Settings()).create("new", SPEC, ANYBODY)
    assert refused.value.status == becomes
    assert refused.value.message


async def test_what_is_forbidden_here_reaches_no_api_server() -> None:
    cluster = FakeCluster()
    cluster.add_model()
    catalog = Catalog()
    store = Models(cluster, catalog, Settings(pull=False, delete=False))
    with pytest.raises(Refusal, match="switched off") as refused:
        await store.create("new", SPEC, ANYBODY)
    assert refused.value.status == 403
    followed = Followed()
    followed.cluster.add_model()
    async with followed.running():
        await followed.sees("default/tiny")
        entry = followed.catalog.find("tiny")
        assert entry is not None
        with pytest.raises(Refusal, match="switched off"):
            await Models(followed.cluster, followed.catalog, Settings(delete=False)).delete(entry.record, ANYBODY)
    assert cluster.created == []
    assert followed.cluster.deleted == []
