"""Sources that keep no commits: a claim that is not there, or contents that change before they are pulled."""

import pytest

from dormouse_api.results import Outcome, SweepResult
from dormouse_operator.decide.attempts import RECHECK_SECONDS
from dormouse_operator.plan.pipeline import SOURCE_SECONDS
from tests.operator.bench import Bench
from tests.operator.builders import failure, inspected, pulled
from tests.operator.world import Object, broken, done

SOURCE = {"uri": "pvc://shared/models/tiny"}
BOUND: Object = {"spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({"spec": {}, "status": {"phase": "Pending"}, "metadata": {"labels": {"x": "y"}}}, "has no volume yet"),
        (None, "there is no PersistentVolumeClaim shared in namespace ns to pull from: create it"),
        ({"spec": {}, "status": {"phase": "Lost"}}, "has lost its volume: restore it"),
        (BOUND | {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, "is being deleted: make it anew"),
    ],
)
async def test_a_source_that_cannot_be_read_is_told_and_no_job_is_made(claim: Object | None, words: str) -> None:
    bench = Bench()
    if claim is not None:
        bench.world.put("PersistentVolumeClaim", "ns", "shared", **claim)
    bench.world.model("tiny", source=SOURCE)
    await bench.work()
    assert bench.condition() == ("False", "StorageFailed")
    assert words in bench.message()
    assert bench.of_kind("Job") == []
    writes = len(bench.world.requests)
    bench.world.now += 10 * SOURCE_SECONDS
    await bench.work()
    assert len(bench.world.requests) == writes, "waiting writes nothing"


async def test_it_goes_on_by_itself_when_the_claim_comes() -> None:
    bench = Bench()
    bench.world.model("tiny", source=SOURCE)
    await bench.work()
    bench.world.put("PersistentVolumeClaim", "ns", "shared", **BOUND)
    await bench.pass_time(SOURCE_SECONDS + 1)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_once_the_weights_are_here_nobody_asks_for_the_source() -> None:
    bench = Bench()
    bench.world.put("PersistentVolumeClaim", "ns", "shared", **BOUND)
    bench.world.model("tiny", source=SOURCE)
    await bench.settle()
    bench.world.remove("PersistentVolumeClaim", "ns", "shared")
    bench.start()
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_what_changed_before_it_was_pulled_is_inspected_anew() -> None:
    """And the new commit is pulled: nobody has to touch the model."""
    bench = Bench()
    bench.world.put("PersistentVolumeClaim", "ns", "shared", **BOUND)
    there = ["1" * 40]
    bench.world.jobs["inspect"] = lambda pod: done(inspected(commit=there[0]))
    bench.world.jobs["pull"] = lambda pod: broken(42, failure("NotFound"), bench.world.now)
    bench.world.model("tiny", source=SOURCE)
    await bench.settle()
    assert bench.condition() == ("False", "NotFound")
    assert bench.status()["commit"] == "1" * 40
    there[0] = "2" * 40
    bench.world.jobs["pull"] = lambda pod: done(pulled(there[0]))
    bench.world.jobs["sweep"] = lambda pod: done(
        Outcome(sweep=SweepResult(removed=(), freed_bytes=0, free_bytes=1)).text()
    )
    await bench.pass_time(2 * RECHECK_SECONDS)
    await bench.pass_time(1)
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.status()["commit"] == "2" * 40
    assert bench.of_kind("Job") == []


async def test_a_commit_of_a_hub_is_asked_for_again() -> None:
    bench = Bench()
    looked: list[str] = []

    def look(pod: Object) -> Object:
        looked.append(pod["metadata"]["name"])
        return done(inspected())

    bench.world.jobs["inspect"] = look
    bench.world.jobs["pull"] = lambda pod: broken(42, failure("NotFound"), bench.world.now)
    bench.world.model("tiny")
    await bench.settle()
    await bench.pass_time(2 * RECHECK_SECONDS)
    assert bench.condition() == ("False", "NotFound")
    assert len(set(looked)) == 1
