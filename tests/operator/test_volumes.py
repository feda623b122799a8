"""Volumes: shared by models of the same weights, cleared of what nobody needs, grown, refused, deleted."""

from typing import Any

import pytest

from dormouse_api import names
from dormouse_api.results import Outcome, SweepResult
from dormouse_operator.observed import LABEL_JOB_NAME
from tests.operator.bench import Bench
from tests.operator.builders import COMMIT, failure, inspected, pulled
from tests.operator.world import World, broken, done

Object = dict[str, Any]
SAME = {"source": {"uri": "hf://org/same"}}
V2, V3, V4 = ("2" * 40, "3" * 40, "4" * 40)


class Disk:
    """What Jobs do to one volume."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.commit = COMMIT
        self.bytes = 1000
        self.swept: list[set[str]] = []
        bench.world.jobs["inspect"] = lambda pod: done(inspected(commit=self.commit, bytes=self.bytes))
        bench.world.jobs["pull"] = lambda pod: done(pulled(self.commit))
        bench.world.jobs["sweep"] = self.sweep

    def sweep(self, pod: Object) -> Object:
        job = self.bench.world.objects["Job", "ns", pod["metadata"]["labels"][LABEL_JOB_NAME]]
        env = {e["name"]: e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        keep = set(env["DORMOUSE_KEEP"].split(","))
        if keep not in self.swept[-1:]:
            self.swept.append(keep)
        return done(Outcome(sweep=SweepResult(removed=(), freed_bytes=0, free_bytes=10)).text())

    async def revise(self, name: str, commit: str, **spec: Any) -> None:
        self.commit = commit
        spec = {"source": {"uri": f"hf://org/{name}", "revision": commit}} | spec
        self.bench.world.model(name, **spec)
        await self.bench.settle()


@pytest.fixture
def disk(bench: Bench) -> Disk:
    return Disk(bench)


def claims(bench: Bench) -> list[str]:
    return bench.of_kind("PersistentVolumeClaim")


def owners(bench: Bench, name: str) -> list[str]:
    meta = bench.world.objects["PersistentVolumeClaim", "ns", name]["metadata"]
    return sorted(o["name"] for o in meta.get("ownerReferences", []))


def jobs_made(bench: Bench, stage: str) -> list[str]:
    return [name for kind, _, name in bench.world.created if kind == "Job" and f"-{stage}-" in name]


async def two(bench: Bench, first: Object | None = None, second: Object | None = None) -> None:
    bench.world.model("first", **(SAME | (first or {})))
    await bench.settle()
    bench.world.model("second", **(SAME | (second or {})))
    await bench.settle()
    assert bench.condition(name="first") == ("True", "ScaledToZero")
    assert bench.condition(name="second") == ("True", "ScaledToZero")


def mounts(bench: Bench, model: str) -> str:
    volumes = bench.world.objects["Deployment", "ns", f"{model}-runtime"]["spec"]["template"]["spec"]["volumes"]
    return str(next(v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v))


async def test_models_of_the_same_weights_have_one_volume(bench: Bench) -> None:
    await two(bench)
    assert claims(bench) == ["first-weights"]
    assert owners(bench, "first-weights") == ["first", "second"]
    assert mounts(bench, "second") == "first-weights"
    assert bench.status("second")["volume"]["claim"] == "first-weights"
    requests = len(bench.world.requests)
    bench.start()
    await bench.settle()
    await bench.pass_time(4000)
    assert len(bench.world.requests) == requests, "two owners agree for ever"


@pytest.mark.parametrize("goes", ["first", "second"])
async def test_a_volume_goes_with_its_last_model(bench: Bench, goes: str) -> None:
    await two(bench)
    stays = {"first": "second", "second": "first"}[goes]
    bench.world.remove(names.MODEL_KIND, "ns", goes)
    await bench.settle()
    assert owners(bench, "first-weights") == [stays]
    bench.world.wake(stays, 30)
    await bench.settle()
    assert bench.condition(name=stays) == ("True", "Serving")
    bench.world.remove(names.MODEL_KIND, "ns", stays)
    await bench.settle()
    assert claims(bench) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"storage": {"share": False}}, {"storage": {"share": False}}),
        ({}, {"storage": {"share": False}}),
        ({}, {"storage": {"size": "50Gi"}}),
        ({}, {"storage": {"className": "fast"}}),
        ({}, {"storage": {"accessMode": "ReadWriteMany"}}),
        ({}, {"profile": "elsewhere"}),
    ],
)
async def test_what_asks_for_another_volume_has_its_own(bench: Bench, first: Object, second: Object) -> None:
    bench.world.profile("elsewhere", nodeSelector={"zone": "b"})
    await two(bench, first, second)
    assert claims(bench) == ["first-weights", "second-weights"]
    assert mounts(bench, "second") == "second-weights"


async def test_where_volumes_travel_other_nodes_do_not_part_models(bench: Bench) -> None:
    bench.world.profile("elsewhere", nodeSelector={"zone": "b"})
    many = {"storage": {"accessMode": "ReadWriteMany"}}
    await two(bench, many, many | {"profile": "elsewhere"})
    assert claims(bench) == ["first-weights"]


async def test_another_commit_has_its_own_volume(bench: Bench, disk: Disk) -> None:
    bench.world.model("first", **SAME)
    await bench.settle()
    disk.commit = V2
    bench.world.model("second", **SAME)
    await bench.settle()
    assert claims(bench) == ["first-weights", "second-weights"]


async def test_the_second_waits_for_the_pull_of_the_first_and_says_so(bench: Bench) -> None:
    bench.world.jobs["pull"] = lambda pod: None
    bench.world.model("first", **SAME)
    bench.world.model("second", **SAME)
    await bench.settle()
    assert len(claims(bench)) == 1
    assert len(jobs_made(bench, "pull")) == 1
    puller = jobs_made(bench, "pull")[0].split("-")[0]
    waits = {"first": "second", "second": "first"}[puller]
    assert bench.condition(name=waits) == ("False", "Pulling")
    assert f"waits for the pull of {puller}" in bench.message(name=waits)
    bench.world.jobs = World().jobs
    await bench.settle()
    await bench.pass_time(3)
    assert bench.condition(name="first") == bench.condition(name="second") == ("True", "ScaledToZero")
    assert len(jobs_made(bench, "pull")) == 2, "the second looks itself, and finds all there"


async def test_a_volume_that_one_model_retains_outlives_all(bench: Bench) -> None:
    await two(bench, second={"storage": {"reclaimPolicy": "Retain"}})
    assert claims(bench) == ["first-weights"]
    assert owners(bench, "first-weights") == []
    for name in ("first", "second"):
        bench.world.remove(names.MODEL_KIND, "ns", name)
    await bench.settle()
    assert claims(bench) == ["first-weights"]
    bench.world.model("third", **SAME)
    await bench.settle()
    assert mounts(bench, "third") == "first-weights", "whoever has the same weights finds it again"
    assert owners(bench, "first-weights") == []


async def test_a_name_that_others_weights_have_is_not_taken(bench: Bench) -> None:
    await two(bench)
    bench.world.remove(names.MODEL_KIND, "ns", "first")
    bench.world.model("first", source={"uri": "hf://org/other"})
    await bench.settle()
    assert bench.condition(name="first") == ("False", "StorageFailed")
    assert "second" in bench.message(name="first")
    assert owners(bench, "first-weights") == ["second"]
    bench.world.remove(names.MODEL_KIND, "ns", "second")
    await bench.pass_time(60)
    assert bench.condition(name="first") == ("True", "ScaledToZero"), "it clears by itself"


async def test_the_way_back_is_kept_and_older_revisions_go(bench: Bench, disk: Disk) -> None:
    await disk.revise("tiny", COMMIT)
    await disk.revise("tiny", V2)
    await disk.revise("tiny", V3)
    assert bench.status()["volume"]["folders"] == [COMMIT, V2, V3]
    assert disk.swept == []
    await disk.revise("tiny", V4)
    assert bench.status()["volume"]["folders"] == [V2, V3, V4]
    assert disk.swept == [{V2, V3, V4}]
    assert "removing" not in bench.status()["volume"]
    assert bench.of_kind("Job") == []
    await disk.revise("tiny", V2)
    assert len(disk.swept) == 1
    assert len(jobs_made(bench, "pull")) == 4, "the way back pulls nothing"
    assert bench.status()["volume"]["folders"] == [V3, V4, V2], "what was needed last comes last"


async def test_nothing_goes_that_another_model_needs(bench: Bench, disk: Disk) -> None:
    bench.world.model("first", **SAME)
    await bench.settle()
    bench.world.model("second", **SAME)
    await bench.settle()
    for commit in (V2, V3, V4):
        await disk.revise("first", commit, source={"uri": "hf://org/same", "revision": commit})
    assert bench.status("first")["volume"]["folders"] == [V2, V3, V4]
    assert "removing" not in bench.status("first")["volume"], "the last who needs it removes it"
    assert disk.swept == []
    for commit in (V2, V3, V4):
        await disk.revise("second", commit, source={"uri": "hf://org/same", "revision": commit})
    assert [COMMIT in keep for keep in disk.swept] == [False]


async def test_nothing_goes_while_a_pod_has_it(bench: Bench, disk: Disk) -> None:
    for commit in (COMMIT, V2, V3):
        await disk.revise("tiny", commit)
    env = [{"name": names.ENV_RUNTIME_CONFIG, "value": f'{{"model_dir":"/models/{COMMIT}"}}'}]
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_MODEL: "ghost",
        names.LABEL_CLAIM: "tiny-weights",
        names.LABEL_COMPONENT: "runtime",
    }
    body = {"containers": [{"name": "runtime", "env": env}]}
    bench.world.put("Pod", "ns", "ghost", metadata={"labels": labels}, spec=body, status={"phase": "Running"})
    await disk.revise("tiny", V4)
    assert disk.swept == []
    assert bench.status()["volume"]["removing"] == [COMMIT]
    assert bench.condition() == ("True", "ScaledToZero")
    bench.world.remove("Pod", "ns", "ghost")
    await bench.pass_time(11)
    assert disk.swept == [{V2, V3, V4}]


async def test_a_pull_that_was_given_up_leaves_nothing(bench: Bench, disk: Disk) -> None:
    await disk.revise("tiny", COMMIT)
    bench.world.jobs["pull"] = lambda pod: None
    await disk.revise("tiny", V2)
    assert "V2" not in str(bench.status()["volume"])
    bench.world.jobs["pull"] = lambda pod: done(pulled(disk.commit))
    await disk.revise("tiny", V3)
    await bench.pass_time(11)
    assert bench.status()["volume"]["folders"] == [COMMIT, V3]
    assert disk.swept
    assert not any(V2 in keep for keep in disk.swept)


async def test_a_full_volume_is_cleared_before_it_is_said_to_be_too_small(bench: Bench, disk: Disk) -> None:
    for commit in (COMMIT, V2):
        await disk.revise("tiny", commit)

    def full_until_swept(pod: Object) -> Object:
        return done(pulled(disk.commit)) if disk.swept else broken(42, failure("NoSpace", short_bytes=5))

    bench.world.jobs["pull"] = full_until_swept
    await disk.revise("tiny", V3)
    await bench.pass_time(5)
    assert disk.swept == [{V2, V3}], "what serves stays, what nobody needs goes"
    assert bench.status()["commit"] == V3
    assert bench.condition("ModelPulled") == ("True", "Pulled")


def grown(bench: Bench, name: str = "tiny-weights") -> str:
    return str(bench.world.objects["PersistentVolumeClaim", "ns", name]["spec"]["resources"]["requests"]["storage"])


def provided(bench: Bench, size: str, *, expandable: bool) -> None:
    """The claim as a provisioner leaves it."""
    bench.world.put("StorageClass", "", "sc", metadata={}, allowVolumeExpansion=expandable)
    claim = bench.world.objects["PersistentVolumeClaim", "ns", "tiny-weights"]
    bench.world.put(
        "PersistentVolumeClaim",
        "ns",
        "tiny-weights",
        spec=claim["spec"] | {"storageClassName": "sc"},
        status={"phase": "Bound", "capacity": {"storage": size}},
    )


async def test_a_volume_grows_for_a_revision_beside_the_one_that_serves(bench: Bench, disk: Disk) -> None:
    disk.bytes = 10 << 30
    await disk.revise("tiny", COMMIT)
    assert grown(bench) == "12Gi"
    provided(bench, "12Gi", expandable=True)
    await disk.revise("tiny", V2)
    assert grown(bench) == "23Gi", "both revisions, headroom and the cache"
    await disk.revise("tiny", V3)
    assert grown(bench) == "23Gi", "never more than needed, and never less than it is"


async def test_a_volume_that_cannot_grow_is_not_asked_to(bench: Bench, disk: Disk) -> None:
    disk.bytes = 10 << 30
    await disk.revise("tiny", COMMIT)
    provided(bench, "12Gi", expandable=False)
    full = failure("NoSpace", "too small: raise spec.storage.size", short_bytes=5)
    bench.world.jobs["pull"] = lambda pod: broken(42, full)
    await disk.revise("tiny", V2)
    assert grown(bench) == "12Gi"
    assert bench.condition("ModelPulled") == ("False", "NoSpace")
    message = bench.message("ModelPulled")
    assert "class sc does not let volumes grow" in message
    assert "delete PersistentVolumeClaim tiny-weights" in message
    bench.world.jobs["pull"] = lambda pod: done(pulled(disk.commit))
    provided(bench, "30Gi", expandable=False)
    await bench.settle()
    assert bench.condition("ModelPulled") == ("True", "Pulled"), "the next try comes with the room, not with the clock"


async def test_a_volume_grows_by_what_a_pull_found_short(bench: Bench, disk: Disk) -> None:
    await disk.revise("tiny", COMMIT)
    provided(bench, "2Gi", expandable=True)
    bench.world.jobs["pull"] = lambda pod: broken(42, failure("NoSpace", short_bytes=10 << 30))
    await disk.revise("tiny", V2)
    assert grown(bench) == "13Gi"
    bench.world.jobs["pull"] = lambda pod: done(pulled(disk.commit))
    provided(bench, "13Gi", expandable=True)
    await bench.settle()
    assert bench.condition("ModelPulled") == ("True", "Pulled")


async def test_an_existing_claim_is_never_changed_nor_cleared(bench: Bench, disk: Disk) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    bench.world.put("PersistentVolumeClaim", "ns", "mine", spec=spec, status={"phase": "Bound"})
    before = dict(bench.world.objects["PersistentVolumeClaim", "ns", "mine"])
    storage = {"storage": {"existingClaim": "mine"}}
    for commit in (COMMIT, V2, V3, V4):
        await disk.revise("tiny", commit, **storage)
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.world.objects["PersistentVolumeClaim", "ns", "mine"] == before
    assert disk.swept == []


async def test_a_claim_that_is_being_deleted_ends_with_the_models_sleep(bench: Bench) -> None:
    bench.world.model("tiny")
    await bench.settle()
    bench.world.wake("tiny", 30)
    await bench.settle()
    gone = {"deletionTimestamp": "2027-01-15T08:00:10Z"}
    bench.world.put("PersistentVolumeClaim", "ns", "tiny-weights", metadata=gone)
    await bench.settle()
    assert bench.condition() == ("True", "Serving"), "who is served goes on being served"
    assert bench.condition("StorageBound") == ("False", "StorageFailed")
    await bench.pass_time(31)
    assert bench.replicas() == 0, "and when it sleeps, nothing holds the claim any more"
    bench.world.remove("PersistentVolumeClaim", "ns", "tiny-weights")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert len(jobs_made(bench, "pull")) == 2


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({}, ("True", "Bound", "grows from 2Gi")),
        (
            {"conditions": [{"type": "FileSystemResizePending", "status": "True", "message": "waiting for a pod"}]},
            ("True", "Bound", "waiting for a pod"),
        ),
        (
            {"conditions": [{"type": "ControllerResizeError", "status": "True", "message": "out of quota"}]},
            ("False", "StorageFailed", "could not grow (out of quota): mend"),
        ),
    ],
)
async def test_a_volume_that_grows_is_followed_in_words(bench: Bench, status: Object, said: tuple[str, ...]) -> None:
    bench.world.model("tiny")
    await bench.settle()
    provided(bench, "2Gi", expandable=True)
    bench.world.model("tiny", storage={"size": "9Gi"})
    await bench.settle()
    assert grown(bench) == "9Gi"
    bench.world.put(
        "PersistentVolumeClaim",
        "ns",
        "tiny-weights",
        status={
            "phase": "Bound",
            "capacity": {"storage": "2Gi"},
            **status,
        },
    )
    await bench.settle()
    assert bench.condition("StorageBound") == said[:2]
    assert said[2] in bench.message("StorageBound")
    assert bench.condition() == ("True", "ScaledToZero"), "what is pulled already serves on"
    provided(bench, "9Gi", expandable=True)
    await bench.settle()
    assert bench.condition("StorageBound") == ("True", "Bound")
    assert "grow" not in bench.message("StorageBound")


async def test_nothing_goes_while_a_model_of_the_volume_does_not_tell_what_it_needs(bench: Bench, disk: Disk) -> None:
    bench.world.model("first", **SAME)
    await bench.settle()
    bench.world.model("second", **SAME)
    await bench.settle()
    silent = dict(bench.world.objects[names.MODEL_KIND, "ns", "second"]["status"])
    for commit in (V2, V3):
        await disk.revise("first", commit, source={"uri": "hf://org/same", "revision": commit})
    bench.world.put(names.MODEL_KIND, "ns", "second", status={"commit": [1]}, spec={"of": "another version"})
    await disk.revise("first", V4, source={"uri": "hf://org/same", "revision": V4})
    assert disk.swept == []
    assert bench.status("first")["volume"]["removing"] == [COMMIT]
    spec = {"source": {"uri": "hf://org/same", "revision": V4}}
    bench.world.put(names.MODEL_KIND, "ns", "second", status=silent, spec=spec)
    await bench.pass_time(400)
    bench.start()
    await bench.settle()
    assert COMMIT in bench.status("second")["volume"]["folders"]
    assert not any(COMMIT not in keep for keep in disk.swept)
    assert "removing" not in bench.status("first")["volume"]


async def test_a_sweep_that_works_is_never_cut_off_and_who_goes_back_waits_for_it(bench: Bench, disk: Disk) -> None:
    for commit in (COMMIT, V2, V3):
        await disk.revise("tiny", commit)
    bench.world.jobs["sweep"] = lambda pod: None
    await disk.revise("tiny", V4)
    (working,) = bench.of_kind("Job")
    await disk.revise("tiny", COMMIT)
    assert bench.of_kind("Job") == [working]
    assert "waits for the sweep" in bench.message("ModelPulled")
    bench.world.jobs["sweep"] = disk.sweep
    await bench.pass_time(15)
    assert bench.status()["commit"] == COMMIT
    assert bench.condition("ModelPulled") == ("True", "Pulled")
    assert len(jobs_made(bench, "pull")) == 5, "pulled anew, for it was being removed"
    assert bench.of_kind("Job") == []
