"""The whole core on a cluster in memory: every way through it, and no write when there is nothing to do."""

from typing import Any

import pytest

from dormouse_api import names
from dormouse_operator.errors import Retry, Terminal
from dormouse_operator.queue import Key
from dormouse_operator.watch import resync
from tests.operator.bench import Bench
from tests.operator.builders import COMMIT, failure
from tests.operator.world import World, broken, done

Object = dict[str, Any]


async def test_straight_path(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.condition("ModelPulled") == ("True", "Pulled")
    assert bench.condition("Quantized") == ("False", "NotWanted")
    assert bench.condition("Idle") == ("True", "ScaledToZero")
    assert bench.of_kind("Job") == []
    bench.world.wake("tiny", 30)
    await bench.settle()
    assert bench.condition() == ("True", "Serving")
    assert bench.condition("Idle") == ("False", "InUse")
    await bench.pass_time(29)
    assert bench.replicas() == 1
    await bench.pass_time(2)
    assert bench.replicas() == 0
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_settled_model_costs_no_write_even_to_a_new_process(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    requests = len(bench.world.requests)
    bench.start()
    await bench.settle()
    await bench.pass_time(4000)
    assert len(bench.world.requests) == requests


async def test_a_changed_spec_reads_each_child_once(bench: Bench) -> None:
    """What is read in vain costs the API server as much, and what is given up half-way its connection too."""
    bench.world.model("tiny")
    await bench.settle()
    calls = bench.world.calls
    bench.world.model("tiny", scaling={"idleSeconds": 7})
    await bench.work()
    assert (
        bench.status()["observedGeneration"]
        == bench.world.objects[names.MODEL_KIND, "ns", "tiny"]["metadata"]["generation"]
    )
    assert bench.world.calls - calls == 7, "the model, five reads of its children, its status"


async def test_nothing_but_labels_of_the_deployment_changes_with_a_wake(bench: Bench) -> None:
    """Kubernetes would copy an annotation to the ReplicaSet, in a write of its own before it scales it."""
    bench.world.model("tiny")
    await bench.settle()
    for seconds in (30, 31):
        bench.world.wake("tiny", 30)
        await bench.pass_time(seconds)
        assert not bench.world.objects["Deployment", "ns", "tiny-runtime"]["metadata"].get("annotations")


async def test_a_lease_written_during_the_pull_wakes_the_model_right_after_it(bench: Bench) -> None:
    bench.world.jobs["pull"] = lambda pod: None
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "Pulling")
    bench.world.wake("tiny", 600)
    del bench.world.jobs["pull"]
    bench.world.jobs["pull"] = World().jobs["pull"]
    await bench.settle()
    assert bench.condition() == ("True", "Serving")


async def test_a_changed_revision_is_inspected_anew_while_the_old_one_serves(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.wake("tiny", 3600)
    await bench.settle()
    template = bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"]
    bench.world.jobs["inspect"] = lambda pod: None
    bench.world.model("tiny", source={"uri": "hf://org/tiny", "revision": "v2"})
    await bench.settle()
    assert bench.condition() == ("True", "Serving")
    assert "v2" in bench.message()
    assert bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"] == template
    first = bench.status()["versions"]
    assert [(v["commit"], v["revision"], v["bytes"]) for v in first] == [(COMMIT, "main", 1000)]
    other = "f" * 40
    world = World()
    bench.world.jobs["inspect"] = lambda pod: _with_commit(world.jobs["inspect"](pod), other)
    bench.world.jobs["pull"] = lambda pod: _with_commit(world.jobs["pull"](pod), other)
    await bench.settle()
    assert bench.status()["commit"] == other
    assert bench.status()["volume"]["folders"] == [COMMIT, other]
    assert other in str(bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"])
    former, latest = bench.status()["versions"]
    assert [former] == first
    assert (latest["commit"], latest["revision"]) == (other, "v2")


def _with_commit(status: Object | None, commit: str) -> Object:
    assert status is not None
    status["containerStatuses"][0]["state"]["terminated"]["message"] = status["containerStatuses"][0]["state"][
        "terminated"
    ]["message"].replace(COMMIT, commit)
    return status


async def test_a_permanent_failure_is_told_and_looked_at_again_seldom_or_when_the_spec_changes(bench: Bench) -> None:
    bench.world.jobs["inspect"] = lambda pod: broken(42, failure("Gated", "accept the licence"), bench.world.now)
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "Gated")
    assert bench.message().startswith("accept the licence")
    jobs = bench.of_kind("Job")
    await bench.pass_time(290)
    assert bench.of_kind("Job") == jobs
    await bench.pass_time(11)
    assert bench.of_kind("Job") != jobs
    await bench.pass_time(590)  # doubled, for it was of no use
    assert bench.condition() == ("False", "Gated")
    bench.world.jobs = World().jobs
    assert bench.condition() == ("False", "Gated")
    bench.world.model("tiny", source={"uri": "hf://org/tiny", "tokenSecretRef": {"name": "token"}})
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_failed_job_deleted_by_hand_is_run_again(bench: Bench) -> None:
    bench.world.jobs["inspect"] = lambda pod: broken(42, failure("NotFound"))
    bench.world.model("tiny")
    await bench.settle()
    bench.world.jobs = World().jobs
    bench.world.remove("Job", "ns", bench.of_kind("Job")[0])
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_passing_failure_is_tried_again_with_growing_delay(bench: Bench) -> None:
    bench.world.jobs["pull"] = lambda pod: broken(1, failure("RateLimited"), bench.world.now)
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "RateLimited")
    assert bench.condition("ModelPulled") == ("False", "RateLimited")
    first = bench.of_kind("Job")
    await bench.pass_time(61)
    second = bench.of_kind("Job")
    assert len(second) == 1
    assert second != first
    await bench.pass_time(61)
    assert bench.of_kind("Job") == second, "the second wait is longer"
    bench.world.jobs = World().jobs
    await bench.pass_time(61)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_deleted_volume_is_made_and_filled_again(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.remove("PersistentVolumeClaim", "ns", "tiny-weights")
    await bench.work()
    assert bench.condition() == ("False", "Pulling")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_retained_volume_outlives_its_model_and_is_adopted(bench: Bench) -> None:
    spec = {"storage": {"reclaimPolicy": "Retain"}}
    bench.world.model("tiny", **spec)
    await bench.settle()
    uid = bench.world.objects["PersistentVolumeClaim", "ns", "tiny-weights"]["metadata"]["uid"]
    bench.world.remove(names.MODEL_KIND, "ns", "tiny")
    await bench.settle()
    assert bench.of_kind("Deployment") == []
    assert bench.of_kind("PersistentVolumeClaim") == ["tiny-weights"]
    bench.world.model("tiny", **spec)
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.world.objects["PersistentVolumeClaim", "ns", "tiny-weights"]["metadata"]["uid"] == uid


@pytest.mark.parametrize("kind", ["Deployment", "Service", "Lease"])
async def test_a_child_deleted_by_hand_comes_back(bench: Bench, kind: str) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.remove(kind, "ns", "tiny-runtime")
    await bench.settle()
    assert bench.of_kind(kind) == ["tiny-runtime"]


async def test_replicas_set_by_hand_are_taken_back(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    spec = bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]
    bench.world.put("Deployment", "ns", "tiny-runtime", spec=spec | {"replicas": 3})
    await bench.settle()
    assert bench.replicas() == 0


async def test_a_deletion_that_no_watch_told_of_is_noticed_by_the_next_look(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.remove("Deployment", "ns", "tiny-runtime", told=False)
    bench.queue.add(Key("ns", "tiny"))
    await bench.settle()
    assert bench.of_kind("Deployment") == ["tiny-runtime"]


async def test_a_missing_profile_is_told_and_its_coming_goes_on(bench: Bench) -> None:
    bench.world.model("tiny", profile="gpu")
    await bench.settle()
    assert bench.condition() == ("False", "ProfileNotFound")
    bench.world.profile("gpu")
    bench.queue.add(Key("ns", "tiny"))  # what the resync after a profile's event does
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_what_the_api_server_refuses_is_told(bench: Bench) -> None:
    bench.world.refuse["PersistentVolumeClaim"] = Terminal("storage class is forbidden", "PersistentVolumeClaim", 422)
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "StorageFailed")
    assert "storage class is forbidden" in bench.message()
    bench.world.refuse.clear()
    bench.queue.add(Key("ns", "tiny"))
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")


async def test_what_cannot_be_done_now_is_tried_again_soon(bench: Bench) -> None:
    bench.world.model("tiny")
    bench.world.refuse["Lease"] = Retry("403 role not found")
    await bench.settle()
    assert bench.quiet.results[-1] == "retry"
    bench.world.refuse.clear()
    await bench.pass_time(1)
    assert bench.condition() == ("True", "ScaledToZero")


async def test_an_int4_copy_is_made_once(bench: Bench) -> None:
    bench.world.model("tiny", quantization="int4")
    await bench.settle()
    assert bench.condition("Quantized") == ("True", "Quantized")
    made = [name for kind, _, name in bench.world.created if kind == "Job"]
    assert len(made) == 3
    bench.world.wake("tiny", 10)
    await bench.pass_time(1)
    await bench.pass_time(20)
    assert [name for kind, _, name in bench.world.created if kind == "Job"] == made


async def test_a_copy_that_cannot_be_made_leaves_the_fallback(bench: Bench) -> None:
    bench.world.jobs["quantize"] = lambda pod: broken(42, failure("QuantizationFailed", "no such layer"))
    bench.world.model("tiny", quantization="int4")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.condition("Quantized") == ("False", "QuantizationFailed")
    template = str(bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"])
    assert "transformers" in template
    assert "vllm" not in template


async def test_a_deleted_model_leaves_nothing(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.remove(names.MODEL_KIND, "ns", "tiny")
    await bench.settle()
    assert [id_ for id_ in bench.world.objects if id_[0] != names.PROFILE_KIND] == []


async def test_a_model_deleted_while_nobody_watched_is_forgotten_by_the_resync(bench: Bench) -> None:
    key = bench.world.model("tiny")
    await bench.settle()
    assert bench.reconciler.known == {key}
    bench.world.remove(names.MODEL_KIND, "ns", "tiny", told=False)
    assert await resync(bench.world, bench.queue, [], bench.reconciler.known) == 1
    await bench.settle()
    assert bench.reconciler.known == frozenset()
    assert bench.quiet.lost == [key]


async def test_somebody_elses_objects_under_our_names_are_not_touched(bench: Bench) -> None:
    bench.world.put("Deployment", "ns", "tiny-runtime", spec={"replicas": 3, "template": {"metadata": {"labels": {}}}})
    bench.world.model("tiny")
    await bench.work()
    assert bench.condition() == ("False", "InvalidSpec")
    assert "another name" in bench.message()
    assert bench.replicas() == 3
    assert {kind for kind, _, _ in bench.world.requests} == {names.MODEL_KIND}


async def test_a_runtime_pod_the_cluster_refuses_is_told(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.wake("tiny", 600)
    await bench.work()
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=5"}
    bench.world.put("Deployment", "ns", "tiny-runtime", status={"conditions": [condition]})
    await bench.work()
    assert bench.condition() == ("False", "Refused")
    assert "exceeded quota" in bench.message()


@pytest.mark.parametrize(("space", "reason"), [("NoSpace", "StorageFailed"), ("Network", "Network")])
async def test_a_volume_that_cannot_grow_matters_only_when_it_is_full(bench: Bench, space: str, reason: str) -> None:
    bench.world.jobs["pull"] = lambda pod: broken(1, failure(space), bench.world.now)
    bench.world.model("tiny")
    await bench.settle()
    error = Terminal("the storageclass must support resize", "PersistentVolumeClaim", 403)
    bench.world.refuse["PersistentVolumeClaim"] = error
    bench.world.model("tiny", storage={"size": "50Gi"})
    await bench.settle()
    assert bench.condition() == ("False", reason)


async def test_a_job_that_ends_well_without_a_result_is_a_failure_that_is_tried_again(bench: Bench) -> None:
    bench.world.jobs["inspect"] = lambda pod: done("hello")
    bench.world.model("tiny")
    await bench.settle()
    assert bench.condition() == ("False", "JobFailed")
    assert "version" in bench.message()
    bench.world.jobs = World().jobs
    await bench.pass_time(1000)
    assert bench.condition() == ("True", "ScaledToZero")
