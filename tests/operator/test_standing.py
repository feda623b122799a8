"""What alerts are told of single models: who fails, how pulls go, how the last start compares with those before it."""

import pytest
from prometheus_client import CollectorRegistry

from dormouse_api import metrics as names
from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.lease import micro_time
from dormouse_api.status import ColdStart, Condition, InferenceModelStatus, PullStatus, StageTime
from dormouse_operator.decide import coldstart
from dormouse_operator.queue import Key
from dormouse_operator.standing import TOLD_SECONDS, Standing

NOW = 1_800_000_000.0
KEY = Key("team", "qwen")
MODEL = {"namespace": "team", "model": "qwen"}


def condition(kind: ConditionType, value: str, reason: Reason) -> Condition:
    return Condition(
        type=kind.value,
        status=value,
        reason=reason.value,
        message="m",
        last_transition_time="2026-01-01T00:00:00Z",
        observed_generation=1,
    )


def status(reason: Reason, ready: str = "False", pulled: bool = False, got: int | None = None) -> InferenceModelStatus:
    there = ("True", Reason.PULLED) if pulled else ("False", Reason.PULLING)
    pull = None
    if got is not None:
        pull = PullStatus(stage="pulling", bytes=got, total=1000, bytes_per_second=10)
    return InferenceModelStatus(
        bytes=1000,
        pull=pull,
        conditions=[
            condition(ConditionType.READY, ready, reason),
            condition(ConditionType.MODEL_PULLED, *there),
        ],
    )


def start(seconds: float, ago: float = 60.0, engine: str = "vllm") -> ColdStart:
    stages = [StageTime(stage="ready", at_milliseconds=round(seconds * 1000))]
    return ColdStart(at=micro_time(NOW - ago - seconds), seconds=round(seconds), engine=engine, stages=stages)


class Told:
    """A `Standing` and its clock."""

    def __init__(self) -> None:
        self.now = NOW
        self.standing = Standing(lambda: self.now)
        self._registry = CollectorRegistry()
        self._registry.register(self.standing)

    def write(self, old: InferenceModelStatus, new: InferenceModelStatus) -> None:
        self.standing.told(KEY, old, new)
        self.standing.seen(KEY, new)

    def value(self, name: str, **labels: str) -> float | None:
        return self._registry.get_sample_value(name, labels)


@pytest.fixture
def told() -> Told:
    return Told()


def test_who_fails_is_told_by_name_until_it_serves_or_is_gone(told: Told) -> None:
    told.standing.seen(KEY, status(Reason.OUT_OF_MEMORY))
    assert told.value(names.MODEL_FAILING, **MODEL, reason="OutOfMemory") == 1.0
    told.standing.seen(KEY, status(Reason.SERVING, "True"))
    assert told.value(names.MODEL_FAILING, **MODEL, reason="OutOfMemory") is None
    told.standing.seen(KEY, status(Reason.GATED))
    told.standing.gone(KEY)
    assert told.value(names.MODEL_FAILING, **MODEL, reason="Gated") is None


@pytest.mark.parametrize("reason", [Reason.PENDING, Reason.QUEUED, Reason.PULLING, Reason.QUANTIZING])
def test_who_is_on_the_way_does_not_fail(told: Told, reason: Reason) -> None:
    told.standing.seen(KEY, status(reason))
    assert told.value(names.MODEL_FAILING, **MODEL, reason=reason.value) is None


def test_a_pull_is_told_of_while_it_runs_and_counted_when_it_ends(told: Told) -> None:
    assert told.value(names.PULLS, result="Pulled") == 0.0  # from the start, so that the first can be seen
    asked, begun, half = status(Reason.PENDING), status(Reason.PULLING, got=0), status(Reason.PULLING, got=500)
    told.write(asked, begun)
    told.now += 40
    told.write(begun, half)
    assert told.value(names.PULL_BYTES, **MODEL) == 500
    assert told.value(names.PULL_TOTAL_BYTES, **MODEL) == 1000
    told.now += 60
    whole = status(Reason.SCALED_TO_ZERO, "True", pulled=True)
    told.write(half, whole)
    told.write(whole, whole)
    assert told.value(names.PULL_BYTES, **MODEL) is None
    assert told.value(names.PULLS, result="Pulled") == 1.0
    assert told.value(names.PULLED_BYTES) == 1000
    assert told.value(f"{names.PULL_SECONDS}_sum") == 100.0
    assert told.value(f"{names.PULL_SECONDS}_bucket", le="60.0") == 0.0
    assert told.value(f"{names.PULL_SECONDS}_bucket", le="120.0") == 1.0


def test_a_pull_that_failed_is_counted_once_by_its_reason(told: Told) -> None:
    going, failed = status(Reason.PULLING, got=10), status(Reason.STALLED, got=10)
    told.write(status(Reason.PENDING), going)
    told.write(going, failed)
    told.write(failed, failed)
    assert told.value(names.PULLS, result="Stalled") == 1.0
    assert told.value(names.PULLS, result="Pulled") == 0.0
    assert told.value(names.PULL_BYTES, **MODEL) is None, "it is tried again later; nothing is under way"


def test_the_time_of_a_pull_whose_beginning_nobody_saw_is_not_told(told: Told) -> None:
    told.write(status(Reason.PULLING, got=900), status(Reason.SCALED_TO_ZERO, "True", pulled=True))
    assert told.value(names.PULLS, result="Pulled") == 1.0
    assert told.value(f"{names.PULL_SECONDS}_count") == 0.0


def test_the_last_start_is_told_beside_the_usual_one_for_an_hour(told: Told) -> None:
    starts = [start(10, 900), start(14, 800), start(99, 700, "transformers"), start(12, 600), start(40)]
    told.standing.seen(KEY, InferenceModelStatus(cold_starts=starts))
    assert told.value(names.LAST_START_SECONDS, **MODEL) == 40.0
    assert told.value(names.USUAL_START_SECONDS, **MODEL) == 12.0
    told.now += TOLD_SECONDS
    assert told.value(names.LAST_START_SECONDS, **MODEL) is None
    assert told.value(names.USUAL_START_SECONDS, **MODEL) is None


@pytest.mark.parametrize(
    ("starts", "usual"),
    [
        pytest.param([], None, id="none"),
        pytest.param([start(10), start(40)], None, id="one is no history"),
        pytest.param([start(10), start(20), start(40)], 15.0, id="two are"),
        pytest.param([start(10), start(20), start(40, engine="transformers")], None, id="of another engine"),
    ],
)
def test_a_start_is_compared_with_those_like_it(starts: list[ColdStart], usual: float | None) -> None:
    assert coldstart.usual(starts) == usual
