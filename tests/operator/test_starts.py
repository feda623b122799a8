"""What the status tells of a start while it goes on, and when it changes: once per stage, and never at rest."""

from typing import Any

import pytest

from dormouse_api.lease import micro_time
from dormouse_api.results import Progress
from dormouse_api.runtime import Stage, StageAt
from dormouse_api.status import ColdStart, InferenceModelStatus, PullStatus, Starting
from dormouse_operator import status
from dormouse_operator.decide import coldstart
from dormouse_operator.observed import Model, Observed, Pod, Runtime
from dormouse_operator.plan import jobs
from dormouse_operator.plan.model import plan
from dormouse_operator.queue import Key
from tests.operator.bench import Bench
from tests.operator.builders import (
    COMMIT,
    NOW,
    SETTINGS,
    claim,
    facts,
    job,
    model,
    observed,
    pod,
    profile,
    remembered,
    state,
    wish,
)

READY = remembered(model(), facts(), COMMIT)
WOKEN = NOW - 4.25


def deployed(replicas: int = 1) -> Runtime:
    return Runtime(replicas, WOKEN if replicas else None, {}, {})


def build(o: Observed, now: float = NOW) -> InferenceModelStatus:
    return status.build(o, plan(o, SETTINGS, now), None, now)


def waking(*pods: Pod, **more: Any) -> Observed:
    return observed(READY, claim=claim(), wish=wish(60, WOKEN), runtime=deployed(), pods=pods, **more)


def told(starting: Starting | None) -> list[tuple[str, int]]:
    assert starting is not None
    return [(stage.stage, stage.at_milliseconds) for stage in starting.stages]


def last(seen: InferenceModelStatus) -> ColdStart:
    assert seen.cold_starts is not None
    return seen.cold_starts[-1]


BOOTING = (StageAt(stage=Stage.STARTING, at=NOW - 2.5), StageAt(stage=Stage.IMPORTING, at=NOW - 2.25))
BEFORE = [("requested", 0), ("created", 0), ("scheduled", 250)]
UNSTARTED = pod(scheduled_at=NOW - 4, started_at=None)


@pytest.mark.parametrize(
    ("o", "stages", "engine"),
    [
        pytest.param(waking(), BEFORE[:1], None, id="asked for"),
        pytest.param(waking(pod(scheduled_at=None, started_at=None)), BEFORE[:2], None, id="no node yet"),
        pytest.param(waking(UNSTARTED), BEFORE, None, id="on a node"),
        pytest.param(
            waking(UNSTARTED, state=state(Stage.READY)), BEFORE, None, id="the word of a pod before this one is none"
        ),
        pytest.param(waking(pod()), BEFORE, None, id="the container runs and has not spoken"),
        pytest.param(
            waking(pod(), state=state(Stage.IMPORTING, timeline=BOOTING)),
            [*BEFORE, ("started", 1750), ("importing", 2000)],
            "vllm",
            id="the engine imports",
        ),
    ],
)
def test_a_start_is_told_stage_by_stage(o: Observed, stages: list[tuple[str, int]], engine: str | None) -> None:
    starting = build(o).starting
    assert told(starting) == stages
    assert starting is not None
    assert (starting.at, starting.engine) == (micro_time(WOKEN), engine)
    assert starting.profile == "cpu"


@pytest.mark.parametrize(
    "o",
    [
        pytest.param(observed(READY, claim=claim()), id="asleep"),
        pytest.param(waking(pod(ready_at=NOW)), id="serving"),
        pytest.param(waking(pod(waiting="ErrImagePull", started_at=None)), id="hindered"),
        pytest.param(observed(remembered(model(), facts()), claim=claim(), jobs=()), id="not pulled yet"),
    ],
)
def test_nothing_is_starting(o: Observed) -> None:
    assert build(o).starting is None


def test_within_a_stage_nothing_changes() -> None:
    o = waking(pod(), state=state(Stage.IMPORTING, timeline=BOOTING))
    first = build(o)
    again = Model("ns", "tiny", "uid-1", 1, o.model.spec, first)
    later = build(Observed(**{**vars(o), "model": again}), NOW + 30)
    assert status.same(first.wire(), later.wire())


def test_a_finished_start_is_recorded_with_its_kind_and_nothing_is_starting_any_more() -> None:
    seen = build(waking(pod(ready_at=NOW), state=state()))
    assert seen.starting is None
    start = last(seen)
    assert (start.profile, start.engine, start.quantization) == ("cpu", "vllm", seen.quantization)
    assert seen.profile == "cpu"


@pytest.mark.parametrize("moved", [pytest.param(0.0, id="the same moment"), pytest.param(0.9, id="a moment later")])
def test_a_pod_on_its_way_out_is_no_second_start_when_the_next_wake_has_its_moment(moved: float) -> None:
    """Its start counts from the pod's creation then, for the wake's own moment has been written over."""
    one = pod(created=WOKEN + moved, scheduled_at=NOW - 3)
    spoken = state(Stage.READY, timeline=(*BOOTING, StageAt(stage=Stage.READY, at=NOW - 1)))
    kind = coldstart.Kind()
    first = coldstart.record(one, spoken, WOKEN, kind)
    again = coldstart.record(one, spoken, NOW + 5, kind)
    assert first is not None
    assert coldstart.append(coldstart.append(None, first), again) == [first]


def test_two_starts_in_a_row_are_two() -> None:
    def start(at: float) -> ColdStart | None:
        spoken = state(Stage.READY, timeline=(StageAt(stage=Stage.READY, at=at + 2),))
        return coldstart.record(pod(created=at, scheduled_at=at), spoken, at, coldstart.Kind())

    starts = [start(NOW - 10), start(NOW - 7.5)]
    assert coldstart.append(coldstart.append(None, starts[0]), starts[1]) == starts


def test_what_runs_for_an_older_spec_teaches_nothing_about_the_present_one() -> None:
    changed = remembered(model(), facts(), COMMIT)
    spec = changed.spec.model_copy(update={"source": changed.spec.source.model_copy(update={"revision": "next"})})
    old = Model("ns", "tiny", "uid-1", 2, spec, changed.status)
    o = observed(old, claim=claim(), wish=wish(60, WOKEN), runtime=deployed(), pods=(pod(ready_at=NOW),), state=state())
    assert plan(o, SETTINGS, NOW).frozen
    start = last(build(o))
    assert (start.profile, start.quantization) == (None, None)


def test_a_copy_tells_its_progress_like_a_pull() -> None:
    m = remembered(model(quantization="int4"), facts(), COMMIT)
    work = jobs.quantize(m, facts(), "int4", claim(), profile())
    busy = pod("quantize")
    said = Progress(stage="quantizing", bytes=250, total=1000, bytes_per_second=50, eta_seconds=15)
    o = observed(m, claim=claim(), jobs=(job("quantize", work.digest),), pods=(busy,), progress=said)
    assert plan(o, SETTINGS, NOW).follow == busy
    seen = build(o)
    assert (seen.pull, seen.progress) == (None, "25%")
    assert seen.quantize == PullStatus(
        stage="quantizing", bytes=250, total=1000, bytes_per_second=50, eta_seconds=15, percent=25, announced=25
    )


async def test_a_wake_costs_one_write_per_stage_however_often_its_pod_is_asked(bench: Bench) -> None:
    key, world = Key("ns", "tiny"), bench.world
    world.model("tiny")
    await bench.settle()
    began = len(world.writes)
    world.wake("tiny", 600)
    await bench.work()
    assert [stage["stage"] for stage in bench.status()["starting"]["stages"]] == ["requested"]
    template = world.objects["Deployment", "ns", "tiny-runtime"]["spec"]["template"]
    status: dict[str, Any] = {
        "phase": "Running",
        "podIP": "10.0.0.2",
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": coldstart.stamp(world.now)}],
        "containerStatuses": [{"name": "runtime", "state": {"running": {"startedAt": coldstart.stamp(world.now)}}}],
    }
    world.put("Pod", "ns", "tiny-runtime-0", metadata=template["metadata"], status=status)
    timeline: list[StageAt] = []
    for stage in (Stage.STARTING, Stage.IMPORTING, Stage.LOADING, Stage.WARMING, Stage.READY):
        if stage is Stage.READY:
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": coldstart.stamp(world.now)}
            world.put("Pod", "ns", "tiny-runtime-0", status=status | {"conditions": [*status["conditions"], ready]})
        timeline.append(StageAt(stage=stage, at=world.now))
        bench.quiet.answers[key] = state(stage, timeline=tuple(timeline))
        for _ in range(5):
            world.now += 1
            await bench.reconciler.look(key)
        if stage is not Stage.READY:
            assert bench.status()["starting"]["stages"][-1]["stage"] == coldstart.NAMES.get(stage, stage.value)
    assert "starting" not in bench.status()
    assert [start["profile"] for start in bench.status()["coldStarts"]] == [bench.status()["profile"]]
    told = [verb for kind, verb, _ in world.writes[began:] if kind == "InferenceModel" and verb == "status"]
    assert len(told) == 6  # asked for, starting, importing, loading, warming, ready
