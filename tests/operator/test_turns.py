"""Models that share one device, with the whole operator: lines, doors, turns, what the status tells, and cooldowns."""

from typing import Any

import pytest

from dormouse_api import names
from dormouse_operator.happenings import happenings
from dormouse_operator.queue import Key
from tests.operator.shared import GPU, IDLE, Shared


@pytest.fixture
def shared() -> Shared:
    return Shared()


async def test_an_idle_model_makes_room_at_once_and_sleeps_until_it_is_called(shared: Shared) -> None:
    await shared.add("a")
    await shared.add("b", start=3.0)
    shared.call("a")
    await shared.run(20)
    assert shared.awake() == ["a"]
    shared.call("b")
    await shared.run(0.5)
    assert shared.condition(name="b") == ("True", "WaitingForAccelerator")
    assert shared.status("b")["line"]["holder"] == "ns/a"
    assert "ns/a" in shared.message(name="b")
    assert "position 1 of 1" in shared.message(name="b")
    await shared.run(12)
    assert shared.awake() == ["b"]
    assert shared.condition(name="a") == ("True", "ScaledToZero")
    [swap] = shared.status("b")["swaps"]
    assert swap["holder"] == "ns/a"
    assert 4 <= swap["seconds"] <= swap["waitedSeconds"] <= 10
    assert "line" not in shared.status("b")
    told = [each.note for old, new in shared.quiet.statuses for each in happenings("b", old, new)]
    assert any("position 1 of 1" in note for note in told)
    assert any("made room for another model" in note for note in told)
    assert "made room" in shared.message(name="a")
    assert any(f"{swap['seconds']} s after ns/a was asked to make room" in note for note in told)
    await shared.run(IDLE)
    assert shared.awake() == [], "the lease of the one that left woke nobody"
    assert len(shared.status("b")["swaps"]) == 1


async def test_a_stream_that_goes_on_for_long_is_never_cut_and_new_calls_are_held(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.call("a", seconds=120)
    await shared.run(15)
    shared.call("b")
    await shared.run(5)
    assert shared.condition(name="a") == ("True", "MakingRoom")
    shared.call("a")
    await shared.run(60)
    assert shared.awake() == ["a"]
    assert shared.callers["a"].held, "its door is closed"
    await shared.run(60)
    assert len(b.waits) == 1
    await shared.run(40)
    assert len(shared.callers["a"].waits) == 2, "and then it is its turn again"


async def test_a_door_opens_again_when_those_who_waited_have_gone(shared: Shared) -> None:
    a = await shared.add("a")
    await shared.add("b")
    shared.call("a", seconds=200)
    await shared.run(15)
    shared.call("b")
    await shared.run(5)
    shared.callers["b"].held.clear()
    shared.call("a")
    await shared.run(40)
    assert len(a.waits) == 2
    assert shared.condition(name="a") == ("True", "Serving")
    assert shared.condition(name="b") == ("True", "WaitingForAccelerator")


async def test_one_that_is_to_stay_is_never_turned_out(shared: Shared) -> None:
    await shared.add("a")
    await shared.add("b")
    shared.call("a")
    await shared.run(10)
    shared._wish(shared.callers["a"], shared.world.now, 3600)
    shared.call("b")
    await shared.run(200)
    assert shared.awake() == ["a"]
    assert "keep_alive" in shared.message(name="b")


async def test_a_profile_keeps_its_limit_where_there_are_devices_enough() -> None:
    shared = Shared()
    shared.world.devices = {"node": 4}
    for name in "abc":
        await shared.add(name)
    shared.call("a")
    shared.call("b")
    await shared.run(12)
    assert shared.awake() == ["a", "b"]
    shared.call("c")
    await shared.run(1)
    assert shared.condition(name="c") == ("True", "WaitingForAccelerator")
    await shared.run(12)
    assert shared.awake() == ["b", "c"]


async def test_a_profile_without_an_accelerator_may_have_a_limit_too() -> None:
    shared = Shared(device="cpu", accelerator=None, maxAwake=1)
    for name in "ab":
        await shared.add(name)
    shared.call("a")
    await shared.run(12)
    shared.call("b")
    await shared.run(12)
    assert shared.awake() == ["b"]


async def test_no_device_at_all_is_a_failure_and_no_line(shared: Shared) -> None:
    shared.world.devices = {"node": 0}
    await shared.add("a")
    shared.call("a")
    await shared.run(12)
    assert shared.condition(name="a") == ("False", "Unschedulable")
    assert GPU in shared.message(name="a")


async def test_a_scheduler_that_takes_its_time_refuses_nobody(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.world.backoff = 25.0
    shared.call("a")
    await shared.run(20)
    shared.call("b")
    while not b.waits:
        await shared.run(0.5)
        assert shared.condition(name="b")[0] == "True", "what it waits for is free, and about to be given to it"
    assert shared.awake() == ["b"]
    assert 25 <= b.waits[0] <= 40


async def test_one_whose_device_somebody_else_took_says_so_after_a_while(shared: Shared) -> None:
    await shared.add("a")
    await shared.add("b")
    shared.call("a")
    await shared.run(20)
    shared.world.backoff = 25.0
    shared.call("b")
    while shared.world.pods_of("a"):
        await shared.run(0.5)
    shared.world.devices = {"node": 0}
    await shared.run(25)
    assert shared.condition(name="b")[0] == "True"
    await shared.run(10)
    assert shared.condition(name="b") == ("False", "Unschedulable")


async def test_one_that_cannot_be_deployed_holds_up_nobody(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    await shared.run(10)
    gone = {"deletionTimestamp": "2027-01-15T08:00:10Z"}
    shared.world.put("PersistentVolumeClaim", "ns", "a-weights", metadata=gone)
    await shared.settle()
    shared.call("a")
    await shared.run(3)
    assert shared.condition(name="a") == ("False", "StorageFailed")
    shared.call("b")
    await shared.run(5)
    assert b.waits == [pytest.approx(1.5, abs=0.5)]


async def test_what_a_deleted_model_still_holds_is_waited_for(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.call("a")
    await shared.run(10)
    shared.world.ending_seconds = 30
    [pod] = shared.world.pods_of("a")
    pod["metadata"]["ownerReferences"] = []
    shared.world.remove(names.MODEL_KIND, "ns", "a")
    del shared.callers["a"]
    shared.world.put("Pod", "ns", pod["metadata"]["name"], metadata={"deletionTimestamp": "2027-01-15T08:00:10Z"})
    shared.call("b")
    await shared.run(20)
    assert shared.condition(name="b") == ("True", "WaitingForAccelerator")
    assert "ns/a is ending" in shared.message(name="b")
    shared.world.remove("Pod", "ns", pod["metadata"]["name"])
    await shared.run(5)
    assert len(b.waits) == 1


async def test_a_start_that_failed_is_left_alone_told_and_tried_later_each_time(shared: Shared) -> None:
    await shared.add("a")
    b = await shared.add("b")
    shared.world.broken = {"a"}
    shared.call("a")
    await shared.run(5)
    assert shared.condition(name="a") == ("False", "EngineFailed")
    assert "no kernel image" in shared.message(name="a")
    assert "tried again from" in shared.message(name="a")
    assert shared.replicas("a") == 0, "it holds no device meanwhile"
    assert shared.status("a")["cooldown"]["failures"] == 1
    shared.call("b")
    await shared.run(10)
    assert len(b.waits) == 1
    requests = len(shared.world.requests)
    shared.start()
    await shared.settle()
    assert len(shared.world.requests) == requests, "a new process says the same"
    await shared.run(250)
    assert shared.replicas("a") == 0
    await shared.run(60)
    cooldown = shared.status("a")["cooldown"]
    assert cooldown["failures"] == 2
    shared.world.broken = set()
    spec = shared.world.objects[names.MODEL_KIND, "ns", "a"]["spec"]
    shared.world.put(names.MODEL_KIND, "ns", "a", spec=spec | {"aliases": ["other"]})
    await shared.run(20)
    assert shared.awake() == ["a"], "a changed spec ends it"
    assert "cooldown" not in shared.status("a")


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("mended", ["profile", "alias"])
async def test_what_failed_before_it_was_mended_is_not_counted_for_what_is_there_now(
    shared: Shared, mended: str, wanted: bool
) -> None:
    """Somebody mends it the moment the failure is told: the pod that failed is not gone yet."""
    await shared.add("a")
    shared.world.broken = {"a"}
    shared.call("a")
    hear, told = shared.world.on_event, list[str]()

    def mend(kind: str, change: str, body: dict[str, Any]) -> None:
        hear(kind, change, body)
        if told or "cooldown" not in body.get("status", {}):
            return
        told.append(body["status"]["cooldown"]["until"])
        shared.world.broken = set()
        if not wanted:
            shared.callers["a"].held.clear()
            shared.world.put("Lease", "ns", names.runtime_name("a"), spec={})
        if mended == "profile":
            shared.world.put(names.PROFILE_KIND, "", "cpu", spec=profile | {"image": "runtime:2"})
            shared.queue.add(Key("ns", "a"))  # what the resync after a profile's event does
        else:
            model = shared.world.objects[names.MODEL_KIND, "ns", "a"]
            shared.world.put(names.MODEL_KIND, "ns", "a", spec=model["spec"] | {"aliases": ["other"]})

    profile = shared.world.objects[names.PROFILE_KIND, "", "cpu"]["spec"]
    shared.world.on_event = mend
    await shared.run(3)
    assert told
    assert shared.condition(name="a")[0] == "True", shared.message(name="a")
    await shared.run(3)
    assert "cooldown" not in shared.status("a")
    assert shared.awake() == (["a"] if wanted else [])


@pytest.mark.parametrize(("seed", "kill"), [(1, 0.0), (2, 0.05)])
async def test_three_share_one_device_while_the_operator_dies_now_and_then(seed: int, kill: float) -> None:
    shared = Shared(seed)
    small = await shared.add("small", start=1.0, every=0.8)
    large = await shared.add("large", start=8.0, every=40.0)
    mid = await shared.add("mid", start=3.0, every=30.0)
    await shared.run(400, kill)
    # the others' starts, stays and last calls, and its own start
    longest = (8 + 24 + 8) + (3 + 10 + 8) + (1 + 10 + 8) + 20
    for caller in (small, large, mid):
        assert caller.waits
        assert max(caller.waits + [shared.world.now - since for since, _ in caller.held]) <= longest
    starts = sum(len(shared.status(name).get("swaps", [])) for name in shared.callers)
    assert starts
    assert "bug" not in shared.quiet.results


async def test_once_all_is_quiet_nothing_is_written_any_more(shared: Shared) -> None:
    await shared.add("a")
    await shared.add("b")
    shared.call("a")
    await shared.run(20)
    shared.call("b")
    await shared.run(IDLE + 60)
    requests = len(shared.world.requests)
    shared.start()
    await shared.run(60)
    assert len(shared.world.requests) == requests


async def test_one_that_never_fits_makes_the_others_leave_once_and_says_so(shared: Shared) -> None:
    accelerator = {"resource": GPU, "count": 2, "memory": "24Gi"}
    shared.world.profile("two", device="cuda", accelerator=accelerator)
    await shared.add("small")
    shared.call("small")
    await shared.run(10)
    await shared.add("large", profile="two")
    shared.call("large")
    await shared.run(10)
    assert shared.awake() == [], "it has made room"
    await shared.run(30)
    assert shared.condition(name="large") == ("False", "Unschedulable")
    assert "no other model on these devices" in shared.message(name="large")
    shared.callers["large"].held.clear()
    shared.call("small")
    await shared.run(5)
    assert shared.awake() == ["small"], "nobody waits behind it"
    shared.start()
    swaps = len(shared.status("small").get("swaps", []))
    for _ in range(20):
        shared.call("large")
        shared.call("small")
        await shared.run(30)
        shared.callers["large"].held.clear()
        assert shared.awake() == ["small"]
    assert len(shared.status("small").get("swaps", [])) == swaps
    assert "unplaced" in shared.status("large")
    shared.world.devices = {"node": 1, "large-node": 2}
    shared.call("large")
    await shared.run(10)
    assert shared.awake() == ["large", "small"]
    assert "unplaced" not in shared.status("large")
    assert shared.condition(name="large") == ("True", "Serving")


async def test_a_pod_that_no_node_may_run_keeps_nobody_waiting(shared: Shared) -> None:
    words = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    shared.world.misfits = {"odd": words}
    await shared.add("odd")
    await shared.add("other")
    shared.call("odd")
    await shared.run(12)
    assert shared.condition(name="odd") == ("False", "Unschedulable")
    shared.call("other")
    await shared.run(5)
    assert shared.awake() == ["other"]
