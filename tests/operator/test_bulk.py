"""Reading for many: as good as reading for one, seldom, and never the ground of a write."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dormouse_api import names
from dormouse_operator.bulk import FEW, KINDS, Bulk
from dormouse_operator.observe import Eyes
from dormouse_operator.queue import Key, Level, WorkQueue
from dormouse_operator.reading import read_model
from tests.operator.bench import Bench
from tests.operator.builders import SETTINGS

Object = dict[str, Any]
COUNT = 30
NAMES = [f"m{number:02}" for number in range(COUNT)]


@pytest.fixture
async def many(bench: Bench) -> Bench:
    """A bench with many models, all asleep."""
    for name in NAMES:
        bench.world.model(name)
    await bench.settle()
    assert {bench.condition(name=name) for name in NAMES} == {("True", "ScaledToZero")}
    return bench


async def test_a_new_process_looks_at_many_with_few_requests_and_writes_nothing(many: Bench) -> None:
    written, calls = len(many.world.requests), many.world.calls
    many.start()
    looks = await many.work()
    assert looks >= COUNT
    assert len(many.world.requests) == written
    assert many.world.calls - calls < 2.5 * COUNT, "each model by its name, the rest for many at once"


async def test_what_is_read_for_many_is_what_is_read_for_one(many: Bench) -> None:
    many.world.wake(NAMES[3], 600)
    await many.settle()
    queue = WorkQueue()
    for name in NAMES:
        queue.add(Key("ns", name), Level.LATER)
    eyes = Eyes(SETTINGS, many.world, Bulk(many.world, queue, ()), (many.quiet, many.quiet), lambda: many.world.now)
    shared = 0
    while (key := queue.take()) is not None:
        raw = await many.world.get(names.MODEL_KIND, key.namespace, key.name)
        assert raw is not None
        model = read_model(raw)
        found = await eyes.observe(key, model, await eyes.ahead(key))
        assert replace(found, shared=False) == await eyes.observe(key, model, None)
        shared += found.shared
        queue.done(key)
    assert shared == COUNT


async def test_nothing_is_written_from_what_many_share(many: Bench) -> None:
    """The Lease runs out in the reading for many; meanwhile a caller has come back."""
    name = NAMES[-1]
    many.world.wake(name, 600)
    await many.settle()
    many.start()
    many.world.now += 601  # it has ended when all are read
    first = many.queue.take()
    assert first is not None
    await many.reconciler.look(first)
    many.world.on_event = lambda kind, change, body: None  # the event of what comes now is late
    many.world.wake(name, 600)
    written = len(many.world.requests)
    await many.work()
    assert many.replicas(name) == 1
    assert [kind for kind, *_ in many.world.requests[written:]].count("Deployment") == 0


async def test_what_changed_after_the_reading_began_is_read_anew(many: Bench) -> None:
    many.start()
    first = many.queue.take()
    assert first is not None
    await many.reconciler.look(first)
    name = NAMES[-1]
    many.world.remove("Service", "ns", f"{name}-runtime")
    gone = {"name": f"{name}-runtime", "namespace": "ns", "labels": {names.LABEL_MODEL: name}}
    many.event("Service", "DELETED", {"metadata": gone})
    await many.work()
    assert ("Service", "ns", f"{name}-runtime") in many.world.objects


class Slow:
    """An API server whose lists wait; counts them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.lists = 0
        self.all = asyncio.Event()
        self.go = asyncio.Event()
        self.error = error

    async def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        return {"metadata": {"name": name}}

    async def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Object]:
        self.lists += 1
        if self.lists == len(KINDS):
            self.all.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        labels = {names.LABEL_MODEL: "k1"}
        return [{"metadata": {"name": "k1-x", "namespace": space, "labels": labels}} for space in ("ns", "other")]


def line(count: int) -> tuple[WorkQueue, list[Key]]:
    """A queue with two keys in work and others waiting."""
    queue, keys = WorkQueue(), [Key("ns", f"k{number}") for number in range(count)]
    for key in keys:
        queue.add(key, Level.LATER)
    assert [queue.take(), queue.take()] == keys[:2]
    return queue, keys


async def test_looks_that_come_meanwhile_share_the_reading_under_way() -> None:
    queue, keys = line(FEW + 2)
    api = Slow()
    bulk = Bulk(api, queue, ())
    both = [asyncio.create_task(bulk.of(key)) for key in keys[:2]]
    await api.all.wait()
    api.go.set()
    first, second = await asyncio.gather(*both)
    assert first is not None
    assert second is not None
    assert api.lists == len(KINDS), "one reading for both"
    assert [item["metadata"]["namespace"] for item in await second.list("Pod")] == ["ns"], "not of another namespace"
    assert await first.get("Lease", "ns", "k0-x") == {"metadata": {"name": "k0-x"}}, "what is not found is asked for"
    assert queue.take() == keys[2]
    assert await bulk.of(keys[2]) is not None
    queue.add(keys[3])
    assert queue.take() == keys[3]
    assert await bulk.of(keys[3]) is None, "asked for after the reading began, and alone in its lane"


async def test_few_are_read_alone() -> None:
    queue, keys = line(FEW)
    assert await Bulk(Slow(), queue, ()).of(keys[0]) is None


async def test_a_reading_that_fails_is_the_failure_of_whoever_asked() -> None:
    queue, keys = line(FEW + 2)
    api = Slow(OSError("gone"))
    api.go.set()
    bulk = Bulk(api, queue, ())
    with pytest.raises(OSError, match="gone"):
        await bulk.of(keys[0])
    api.error = None
    assert await bulk.of(keys[1]) is not None
