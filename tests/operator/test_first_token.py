"""The first token of a held stream, as routers tell it: heard once, and written into the start it belongs to."""

from dataclasses import replace

import pytest

from dormouse_api.demand import Demand, ModelDemand
from dormouse_api.runtime import Stage, StageAt
from dormouse_api.status import ColdStart, InferenceModelStatus
from dormouse_operator import status
from dormouse_operator.decide import coldstart
from dormouse_operator.firsts import KEPT_SECONDS, Firsts
from dormouse_operator.metrics import Metrics
from dormouse_operator.observed import Observed
from dormouse_operator.plan.model import plan
from dormouse_operator.queue import Key, WorkQueue
from tests.operator.builders import COMMIT, NOW, SETTINGS, claim, facts, model, observed, pod, remembered, state, wish
from tests.operator.test_starts import WOKEN, deployed

KEY = Key("ns", "tiny")
READY_AT = NOW
SERVING = state(
    Stage.READY,
    timeline=(StageAt(stage=Stage.STARTING, at=NOW - 2.5), StageAt(stage=Stage.READY, at=READY_AT)),
)


def told(ago: float | None, name: str = "ns/tiny") -> Demand:
    return Demand(models={name: ModelDemand(in_flight=1, first_token_ago_seconds=ago)})


def test_a_first_token_is_heard_once_and_its_moment_is_the_earliest_router() -> None:
    firsts = Firsts()
    assert firsts.of(KEY) is None
    assert firsts.take(100.0, [told(None)]) == set()
    assert firsts.take(101.0, [told(0.5), told(0.75), told(0.1, "ns/other")]) == {KEY, Key("ns", "other")}
    assert firsts.of(KEY) == 100.25
    assert firsts.take(103.0, [told(2.51), told(2.75)]) == set()  # the same, told again a poll later
    assert firsts.of(KEY) == 100.25
    assert firsts.take(130.0, [told(1.0)]) == {KEY}
    assert firsts.of(KEY) == 129.0
    assert firsts.take(130.0 + KEPT_SECONDS, []) == set()
    assert firsts.of(KEY) is None


def serving(first_token: float | None, known: InferenceModelStatus | None = None) -> Observed:
    served = remembered(model(), facts(), COMMIT)
    if known is not None:
        served = replace(served, status=served.status.model_copy(update={"cold_starts": known.cold_starts}))
    up = pod(ready_at=READY_AT)
    return observed(
        served,
        claim=claim(),
        wish=wish(60, WOKEN),
        runtime=deployed(),
        pods=(up,),
        state=SERVING if known is None else None,
        first_token=first_token,
    )


def starts(o: Observed) -> InferenceModelStatus:
    return status.build(o, plan(o, SETTINGS, NOW + 1), None, NOW + 1)


def only(seen: InferenceModelStatus) -> ColdStart:
    assert seen.cold_starts is not None
    (start,) = seen.cold_starts
    return start


def test_it_completes_the_start_whether_it_is_heard_with_it_or_later() -> None:
    at_once = starts(serving(READY_AT + 0.125))
    assert only(at_once).first_token_milliseconds == 4375  # 4.25 s after the wish it was ready
    silent = starts(serving(None))
    assert only(silent).first_token_milliseconds is None
    later = starts(serving(READY_AT + 0.125, silent))
    assert later.cold_starts == at_once.cold_starts
    again = starts(serving(READY_AT + 0.5, later))
    assert again.cold_starts == later.cold_starts  # what is written stays


@pytest.mark.parametrize(
    "first_token",
    [
        pytest.param(READY_AT - 30, id="of the wake before"),
        pytest.param(READY_AT + coldstart.ANSWER_SECONDS + 1, id="too late to be this start's"),
    ],
)
def test_a_token_of_another_wake_completes_nothing(first_token: float) -> None:
    assert only(starts(serving(first_token))).first_token_milliseconds is None


def test_it_is_never_told_before_the_engine_was_ready() -> None:
    start = only(starts(serving(READY_AT - 0.5)))  # clocks differ
    assert start.first_token_milliseconds == start.stages[-1].at_milliseconds


def test_the_histogram_counts_it_once_and_total_leaves_it_out() -> None:
    before, after = starts(serving(None)), starts(serving(READY_AT + 0.125))
    assert coldstart.total(only(after)) == coldstart.total(only(before)) == 4.25
    assert "first_token" not in coldstart.spans(only(after))
    metrics = Metrics(WorkQueue(lambda: NOW))
    metrics.told(InferenceModelStatus(), before, NOW)
    metrics.told(before, after, NOW)
    metrics.told(after, after, NOW)
    text = metrics.text().decode()
    labels = '{engine="vllm",stage="first_token"}'
    assert f"dormouse_operator_start_stage_duration_seconds_count{labels} 1.0" in text
    assert f"dormouse_operator_start_stage_duration_seconds_sum{labels} 0.125" in text
