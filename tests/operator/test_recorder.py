"""The flight recorder: what a start went into, as an Event, as histograms, and each start once."""

import pytest

from dormouse_api.ahead import Prewarm
from dormouse_api.runtime import Stage, StageAt
from dormouse_api.status import ColdStart, InferenceModelStatus, StageTime
from dormouse_operator import events
from dormouse_operator.decide import coldstart
from dormouse_operator.ears import Ears
from dormouse_operator.happenings import happenings, started
from dormouse_operator.metrics import Metrics
from dormouse_operator.observed import Model
from dormouse_operator.queue import WorkQueue
from dormouse_operator.standing import Standing
from tests.operator.builders import NOW, model, pod, state
from tests.operator.test_events import Post

MOMENTS = (
    ("requested", 0),
    ("created", 100),
    ("scheduled", 150),
    ("mounted", 1150),
    ("started", 1350),
    ("importing", 2350),
    ("loading", 5350),
    ("warming", 9350),
    ("ready", 12350),
)


def start(*moments: tuple[str, int], at: float = NOW - 20) -> ColdStart:
    stages = [StageTime(stage=name, at_milliseconds=ms) for name, ms in moments or MOMENTS]
    seconds = round(stages[-1].at_milliseconds / 1000)
    stamp = coldstart.stamp(at)
    return ColdStart(at=stamp, seconds=seconds, engine="vllm", stages=stages)


@pytest.mark.parametrize(
    ("recorded", "spans"),
    [
        pytest.param(
            start(),
            {
                "creation": 0.1,
                "scheduling": 0.05,
                "volume": 1.0,
                "image": 0.2,
                "supervisor": 1.0,
                "import": 3.0,
                "load": 4.0,
                "warm": 3.0,
            },
            id="all of it",
        ),
        pytest.param(
            start(("requested", 0), ("created", 0), ("scheduled", 0), ("started", 3000), ("ready", 4000)),
            {"creation": 0.0, "scheduling": 0.0, "node": 3.0, "supervisor": 1.0},
            id="a kubelet that does not tell when the volume was there",
        ),
        pytest.param(
            start(("started", 0), ("importing", 1000), ("loading", 2000), ("importing", 3000), ("ready", 5000)),
            {"supervisor": 1.0, "import": 3.0, "load": 1.0},
            id="two engines",
        ),
    ],
)
def test_a_start_by_what_it_went_into(recorded: ColdStart, spans: dict[str, float]) -> None:
    assert coldstart.spans(recorded) == pytest.approx(spans)
    assert list(coldstart.spans(recorded)) == list(spans)


def test_the_volume_is_there_before_the_container_starts_whenever_the_kubelet_tells_of_it() -> None:
    timeline = (StageAt(stage=Stage.STARTING, at=NOW - 2.5), StageAt(stage=Stage.READY, at=NOW))
    seen = coldstart.record(pod(mounted_at=NOW - 1), state(timeline=timeline), NOW - 4.5, coldstart.Kind())
    assert seen is not None
    told = {stage.stage: stage.at_milliseconds for stage in seen.stages}
    assert told["mounted"] == told["started"] == 2000


def test_one_event_tells_the_whole_start() -> None:
    before, after = InferenceModelStatus(cold_starts=[]), InferenceModelStatus(cold_starts=[start()])
    after = after.model_copy(update={"conditions": with_ready().conditions})
    (told,) = [found for found in happenings("tiny", before, after) if found.reason == "Started"]
    assert told.note == (
        "started in 12.3 s with vllm: creation 0.1, scheduling 0.1, volume 1.0, image 0.2, supervisor 1.0, "
        "import 3.0, load 4.0, warm 3.0"
    )
    assert not [found for found in happenings("tiny", after, after) if found.reason == "Started"]


def with_ready() -> InferenceModelStatus:
    condition = {"type": "Ready", "status": "True", "reason": "Serving", "message": "m", "observedGeneration": 1}
    return InferenceModelStatus.model_validate({"conditions": [condition | {"lastTransitionTime": "t"}]})


async def test_every_process_that_posts_the_event_of_a_start_posts_the_same_object() -> None:
    post = Post()
    for instance in ("pod-1", "pod-2"):
        await events.Recorder(post, instance).post(model(), started(start()), NOW)
    other = start(at=NOW + 60)
    await events.Recorder(post, "pod-2").post(model(), started(other), NOW)
    first, again, next_one = (body["metadata"]["name"] for body in post.made)
    assert first == again != next_one


def test_a_new_process_tells_of_the_starts_of_the_last_two_minutes_only() -> None:
    recorder, metrics = events.Recorder(Post(), "pod-1"), Metrics(WorkQueue())
    old, new = start(at=NOW - 20 - coldstart.LATELY), start(at=NOW - 20)
    ears = Ears(metrics, Standing(lambda: NOW), recorder, lambda: NOW)
    ears.met(model(InferenceModelStatus(cold_starts=[old, new])))
    assert recorder.waiting == 1


def test_starts_are_counted_once_each_by_stage_and_engine() -> None:
    metrics = Metrics(WorkQueue())
    ears = Ears(metrics, Standing(lambda: NOW), events.Recorder(Post(), "pod-1"), lambda: NOW)
    before, after = InferenceModelStatus(), InferenceModelStatus(cold_starts=[start()])
    ears.told(model(before), after)
    ears.told(Model("ns", "tiny", "u", 1, model().spec, after), after)
    said = metrics.text().decode()
    assert 'dormouse_operator_start_duration_seconds_count{engine="vllm"} 1.0' in said
    assert 'dormouse_operator_start_duration_seconds_sum{engine="vllm"} 12.35' in said
    assert 'dormouse_operator_start_stage_duration_seconds_bucket{engine="vllm",le="5.0",stage="load"} 1.0' in said
    assert 'dormouse_operator_start_stage_duration_seconds_bucket{engine="vllm",le="2.0",stage="load"} 0.0' in said


def test_what_starts_ahead_have_brought_is_counted_by_outcome() -> None:
    metrics = Metrics(WorkQueue())
    before = InferenceModelStatus(prewarm=Prewarm(starts=1, used=1, seconds_saved=40, seconds_spent=600))
    after = InferenceModelStatus(prewarm=Prewarm(starts=3, used=2, unused=1, seconds_saved=70, seconds_spent=4800))
    metrics.told(before, after, NOW)
    said = metrics.text().decode()
    assert 'dormouse_operator_prewarm_starts_total{outcome="used"} 1.0' in said
    assert 'dormouse_operator_prewarm_starts_total{outcome="unused"} 1.0' in said
    assert "dormouse_operator_prewarm_saved_seconds_total 30.0" in said
    assert "dormouse_operator_prewarm_spent_seconds_total 4200.0" in said
