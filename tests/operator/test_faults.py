"""Every request of a model's whole life goes wrong, in every way there is, and nothing is different afterwards.

The life has stages. Each is lived again with one fault at one of its requests, by an operator that was just started; it
passes when that stage and the next one end as without the fault, the status included, when each child was made exactly
once, and when a deleted model leaves nothing. `slow`: every request with every fault; else a fifteenth of that.
"""

import copy
import os
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from dormouse_api import names
from dormouse_operator import kube
from tests.operator.builders import inspected, pulled, quantized
from tests.operator.faults import Fault, FaultyBench
from tests.operator.world import CLUSTER, Id, Object, World, done

NEXT = "f" * 40
MADE = ("Job", "Deployment", "Service", "Lease", "PersistentVolumeClaim")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
DURATION = re.compile(r"^seconds$|^(saved|awake|busy|waited)\w*Seconds$")
VOLATILE = ("uid", "resourceVersion", "creationTimestamp", "generation", "observedGeneration")
LASTS = len(kube.PAUSES) + 1
"""So long that `kube` gives up and the look must be taken again."""
ONCE = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.TOO_MANY)
"""A process dies once, and a 429 that names a time ends the look at once."""
FAULTS = [(fault, 1) for fault in Fault] + [(fault, LASTS) for fault in Fault if fault not in ONCE]
STRIDE = 15


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "PAUSES", (0.0,) * len(kube.PAUSES))


def pulls(world: World) -> None:
    world.model("tiny", quantization="int4", scaling={"idleSeconds": 300})


def wakes(world: World) -> None:
    world.wake("tiny", 600)


def sleeps(world: World) -> None:
    world.wake("tiny", 1)


def another_revision(world: World) -> None:
    world.jobs["inspect"] = lambda pod: done(inspected(commit=NEXT))
    world.jobs["pull"] = lambda pod: done(pulled(NEXT))
    world.jobs["quantize"] = lambda pod: done(quantized("int4", NEXT))
    source = {"uri": "hf://org/name", "revision": "v2"}
    world.model("tiny", quantization="int4", scaling={"idleSeconds": 300}, source=source)


def ends(world: World) -> None:
    world.remove(names.MODEL_KIND, "ns", "tiny")


LIFE: list[Callable[[World], None]] = [pulls, wakes, sleeps, another_revision, wakes, ends]


class Stages:
    """The world before each stage, as a life without a fault leaves it."""

    def __init__(self) -> None:
        self._worlds: list[World] = []

    @classmethod
    async def lived(cls) -> "Stages":
        made, bench = cls(), FaultyBench(World())
        for stage in LIFE:
            made._worlds.append(frozen(bench.world))
            await go(bench, stage)
        return made

    async def begin(self, number: int) -> FaultyBench:
        """A new operator process in that world, with nothing left to do."""
        bench = FaultyBench(frozen(self._worlds[number]))
        await rest(bench)
        bench.world.created.clear()
        return bench


def frozen(world: World) -> World:
    hear, world.on_event = world.on_event, lambda kind, change, body: None
    taken = copy.deepcopy(world)
    world.on_event = hear
    return taken


async def rest(bench: FaultyBench) -> Object:
    """Until nothing is left to do, with looks that failed and come again within a second or two; what is there then."""
    for _ in range(3):
        await bench.settle()
        await bench.pass_time(2)
    return {str(id_): plain(body) for id_, body in sorted(bench.world.objects.items()) if id_[0] not in CLUSTER}


async def go(bench: FaultyBench, stage: Callable[[World], None]) -> Object:
    stage(bench.world)
    return await rest(bench)


def plain(value: Any, key: str = "") -> Any:
    """Without what must differ from life to life: identities, moments, and how long things took."""
    if isinstance(value, dict):
        return {k: plain(v, k) for k, v in value.items() if k not in VOLATILE}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, str):
        return TIME.sub("T", value)
    return "some" if DURATION.search(key) else value


def made(bench: FaultyBench) -> Counter[Id]:
    return Counter(id_ for id_ in bench.world.created if id_[0] in MADE)


async def test_the_life_has_every_kind_of_request_in_it() -> None:
    bench = FaultyBench(World())
    stages = [await go(bench, stage) for stage in LIFE]
    assert set(bench.line.seen) >= {
        "GET InferenceModel", "GET RuntimeProfile", "GET Pod", "GET PersistentVolumeClaim", "GET Deployment",
        "GET Lease", "GET Service", "GET Job", "PATCH PersistentVolumeClaim", "PATCH Job", "PATCH Lease",
        "PATCH Service", "PATCH Deployment", "PATCH InferenceModel/status", "DELETE Job",
    }  # fmt: skip
    assert Counter(kind for kind, _, _ in made(bench).elements()) == {
        "Job": 6, "Deployment": 1, "Service": 1, "Lease": 1, "PersistentVolumeClaim": 1,
    }  # fmt: skip
    assert [bool(stage) for stage in stages] == [True] * 5 + [False]
    assert stages[1] != stages[0], "what is compared can tell stages apart"


async def try_one(stages: Stages, fault: Fault, lasts: int, stride: int) -> list[str]:
    """What was different with the fault at every `stride`th request of the life; which, differs from fault to fault."""
    wrong: list[str] = []
    count = FAULTS.index((fault, lasts))
    for number, stage in enumerate(LIFE):
        then = LIFE[number + 1 : number + 2]
        calm = await stages.begin(number)
        before = len(calm.line.seen)
        expected = await go(calm, stage)
        requests = calm.line.seen[before:]
        expected_then = [await go(calm, following) for following in then]
        for at in range(1, len(requests) + 1):
            count += 1
            if count % stride:
                continue
            bench = await stages.begin(number)
            bench.arm(at, fault, lasts)
            found = await go(bench, stage)
            found_then = [await go(bench, following) for following in then]
            told = f"{stage.__name__}, request {at} ({requests[at - 1]}): {fault.value}"
            if found != expected:
                wrong.append(f"{told}: ends differently")
            if found_then != expected_then:
                wrong.append(f"{told}: goes on differently")
            if made(bench) != made(calm):
                wrong.append(f"{told}: made {made(bench) - made(calm)} more, {made(calm) - made(bench)} less")
            if "bug" in bench.quiet.results:
                wrong.append(f"{told}: a look failed")
    return wrong


@pytest.mark.parametrize(("fault", "lasts"), FAULTS, ids=lambda value: getattr(value, "name", None))
async def test_some_requests_go_wrong(fault: Fault, lasts: int) -> None:
    assert await try_one(await Stages.lived(), fault, lasts, STRIDE) == []


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "lasts"), FAULTS, ids=lambda value: getattr(value, "name", None))
async def test_any_request_may_go_wrong(fault: Fault, lasts: int) -> None:
    """Each request meets a sixth of the faults; with DORMOUSE_FAULT_STRIDE=1 all of them, which takes minutes."""
    stride = int(os.environ.get("DORMOUSE_FAULT_STRIDE", "6"))
    assert await try_one(await Stages.lived(), fault, lasts, stride) == []
