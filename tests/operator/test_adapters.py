"""Adapters on the whole operator core: pulled behind the model, listed, loaded, replaced and removed; then silence."""

from typing import Any

import pytest

from dormouse_api.adapters import AdapterState, AdapterStatus
from dormouse_api.results import AdapterResult, BindResult, Outcome, PullResult
from dormouse_api.status import InferenceModelStatus
from dormouse_operator.queue import Key
from tests.operator.bench import Bench
from tests.operator.builders import failure, state
from tests.operator.world import Object, broken, done

KEY = Key("ns", "tiny")


def adapter(name: str, uri: str | None = None, revision: str = "main") -> Object:
    return {"name": name, "source": {"uri": uri or f"hf://org/{name}", "revision": revision}}


def commit_of(pod: Object) -> str:
    return str(pod["metadata"]["name"].removesuffix("-0"))


def good(pod: Object, rank: int = 8) -> Object:
    pull = PullResult(commit=commit_of(pod), files=2, bytes=10, fetched_bytes=10, seconds=1, digest="d")
    return done(Outcome(adapter=AdapterResult(pull=pull, rank=rank, base="org/tiny")).text())


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.world.jobs |= {
        "adapter": good,
        "bind": lambda pod: done(Outcome(bind=BindResult(adapters=1)).text()),
    }
    return made


def told(bench: Bench) -> dict[str, AdapterStatus]:
    raw = bench.world.objects["InferenceModel", "ns", "tiny"]["status"]
    found = InferenceModelStatus.model_validate(raw).adapters or []
    return {entry.name: entry for entry in found}


def jobs_made(bench: Bench, stage: str) -> list[str]:
    return [name for kind, _, name in bench.world.created if kind == "Job" and name.startswith(f"tiny-{stage}-")]


async def settled(bench: Bench) -> None:
    await bench.settle()
    await bench.pass_time(5)


def template(bench: Bench) -> Any:
    return bench.world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"]


async def test_each_adapter_is_pulled_once_and_the_list_is_written(bench: Bench) -> None:
    bench.world.model("tiny", adapters=[adapter("one"), adapter("two")])
    await settled(bench)
    assert {name: (e.ready, e.reason) for name, e in told(bench).items()} == {
        "one": (True, "Pulled"),
        "two": (True, "Pulled"),
    }
    assert all(e.bound == e.commit for e in told(bench).values())
    assert len(jobs_made(bench, "adapter")) == 2
    assert bench.of_kind("Job") == []
    assert bench.condition() == ("True", "ScaledToZero")
    requests = len(bench.world.requests)
    bench.start()
    await bench.settle()
    assert len(bench.world.requests) == requests


async def test_another_adapter_changes_no_template_and_a_removed_one_leaves(bench: Bench) -> None:
    bench.world.model("tiny", adapters=[adapter("one")])
    await settled(bench)
    before = template(bench)
    bench.world.model("tiny", adapters=[adapter("one"), adapter("two")])
    await settled(bench)
    assert set(told(bench)) == {"one", "two"}
    bench.world.model("tiny", adapters=[adapter("two")])
    await settled(bench)
    assert set(told(bench)) == {"two"}
    bench.world.model("tiny", adapters=[])
    await settled(bench)
    assert told(bench) == {}
    assert template(bench) == before
    assert len(jobs_made(bench, "adapter")) == 2


async def test_without_adapters_nothing_of_them_is_asked_for(bench: Bench) -> None:
    bench.world.model("tiny")
    await settled(bench)
    assert jobs_made(bench, "bind") == []
    assert '"lora":null' in str(template(bench)["spec"]["containers"][0]["env"]).replace(" ", "")


async def test_an_awake_pod_says_what_it_has_loaded(bench: Bench) -> None:
    bench.world.model("tiny", adapters=[], scaling={"minReplicas": 1})
    await settled(bench)
    bench.world.model("tiny", adapters=[adapter("one")], scaling={"minReplicas": 1})
    await settled(bench)
    entry = told(bench)["one"]
    assert (entry.ready, entry.reason) == (False, "Loading")
    assert bench.quiet.followed[KEY] is not None
    loaded = AdapterState(name="one", commit=entry.bound or "", loaded=True)
    bench.quiet.answers[KEY] = state(adapters=(loaded,))
    bench.queue.add(KEY)
    await settled(bench)
    assert (told(bench)["one"].ready, told(bench)["one"].reason) == (True, "Loaded")
    broken_state = loaded.model_copy(update={"loaded": False, "message": "no such layer"})
    bench.quiet.answers[KEY] = state(adapters=(broken_state,))
    bench.queue.add(KEY)
    await settled(bench)
    entry = told(bench)["one"]
    assert (entry.ready, entry.reason, entry.message) == (False, "EngineFailed", "no such layer")
    assert bench.condition() == ("True", "Serving"), "its model serves all the same"


async def test_another_revision_is_served_once_it_is_there_and_the_old_one_until_then(bench: Bench) -> None:
    bench.world.model("tiny", adapters=[adapter("one")])
    await settled(bench)
    old = told(bench)["one"].commit
    bench.world.jobs["adapter"] = lambda pod: None
    bench.world.model("tiny", adapters=[adapter("one", revision="v2")])
    await settled(bench)
    entry = told(bench)["one"]
    assert (entry.ready, entry.reason, entry.bound) == (True, "Pulling", old)
    bench.world.jobs["adapter"] = good
    await settled(bench)
    entry = told(bench)["one"]
    assert (entry.ready, entry.reason) == (True, "Pulled")
    assert entry.bound == entry.commit != old


async def test_one_that_cannot_be_pulled_says_why_and_keeps_nobody_else_back(bench: Bench) -> None:
    def play(pod: Object) -> Object:
        first = jobs_made(bench, "adapter")[0]
        return broken(42, failure("Unsupported", "no adapter")) if commit_of(pod) == first else good(pod)

    bench.world.jobs["adapter"] = play
    bench.world.model("tiny", adapters=[adapter("bad"), adapter("fine")])
    await settled(bench)
    assert (told(bench)["bad"].ready, told(bench)["bad"].reason) == (False, "Unsupported")
    assert "no adapter" in told(bench)["bad"].message
    assert told(bench)["fine"].ready
    assert bench.condition() == ("True", "ScaledToZero")


async def test_a_rank_beyond_the_engines_room_is_refused_with_the_fix_and_cured_by_it(bench: Bench) -> None:
    bench.world.jobs["adapter"] = lambda pod: good(pod, rank=128)
    bench.world.model("tiny", adapters=[adapter("wide")])
    await settled(bench)
    entry = told(bench)["wide"]
    assert (entry.ready, entry.reason) == (False, "InvalidSpec")
    assert "engine.lora.maxRank is 64: raise that" in entry.message
    bench.world.model("tiny", adapters=[adapter("wide")], engine={"lora": {"maxRank": 128}})
    await settled(bench)
    assert told(bench)["wide"].ready
    assert len(jobs_made(bench, "adapter")) == 1


async def test_what_the_volume_lost_is_pulled_again(bench: Bench) -> None:
    bench.world.model("tiny", adapters=[adapter("one")])
    lost = iter([True])
    bench.world.jobs["bind"] = lambda pod: done(
        Outcome(
            bind=BindResult(adapters=0, missing=(jobs_made(bench, "adapter")[-1],) if next(lost, False) else ())
        ).text()
    )
    await settled(bench)
    assert told(bench)["one"].ready
    assert len(jobs_made(bench, "adapter")) == 2


async def test_one_made_for_another_model_is_served_with_a_doubt(bench: Bench) -> None:
    bench.world.model("tiny", source={"uri": "hf://org/other"}, adapters=[adapter("one")])
    await settled(bench)
    entry = told(bench)["one"]
    assert entry.ready
    assert "made for org/tiny, and the model is hf://org/other" in entry.message
