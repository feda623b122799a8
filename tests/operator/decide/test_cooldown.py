"""How long a model is left alone after a start that failed."""

from dataclasses import replace

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.results import Failure
from dormouse_api.runtime import RuntimeState, Stage, StageAt
from dormouse_api.status import Cooldown, InferenceModelStatus
from dormouse_operator.decide import cooldown
from dormouse_operator.decide.runtime import RuntimeView
from dormouse_operator.observed import Model
from tests.operator.builders import NOW, ended, gpu, model, pod

GPU = gpu()
BROKEN = Failure(reason=Reason.ENGINE_FAILED, message="no kernel")
STATE = RuntimeState(stage=Stage.FAILED, model="tiny", commit="c", timeline=(StageAt(stage=Stage.STARTING, at=NOW),))
FAILED = RuntimeView(1, 0, pod(restarts=1), BROKEN, STATE)


def next_of(known: Cooldown | None, view: RuntimeView = FAILED, now: float = NOW) -> Cooldown | None:
    return cooldown.after(with_status(known), GPU, view, 300.0, now)


def with_status(known: Cooldown | None, generation: int = 1) -> Model:
    return model(InferenceModelStatus(cooldown=known), generation)


def test_each_failure_in_a_row_doubles_it_up_to_an_hour() -> None:
    known, now, seconds = None, NOW, []
    for failures in range(1, 8):
        known = next_of(known, now=now)
        assert known is not None
        assert known.failures == failures
        seconds.append(cooldown.ends(known) - now)
        now = cooldown.ends(known)
    assert seconds == [300, 600, 1200, 2400, 3600, 3600, 3600]


def test_while_it_lasts_the_same_failure_counts_once() -> None:
    first = next_of(None)
    assert next_of(first, now=NOW + 299) == first
    assert cooldown.in_force(with_status(first), GPU, NOW + 299) == first
    assert cooldown.in_force(with_status(first), GPU, NOW + 300) is None


def test_it_is_remembered_until_a_start_goes_well() -> None:
    first = next_of(None)
    asleep, served = RuntimeView(0, 0), RuntimeView(1, 1)
    assert next_of(first, asleep, NOW + 9000) == first
    assert next_of(first, served, NOW + 9000) is None


@pytest.mark.parametrize("reason", [Reason.IMAGE_PULL_FAILED, Reason.UNSCHEDULABLE, Reason.INVALID_SPEC])
def test_what_the_cluster_tries_again_by_itself_does_not_count(reason: Reason) -> None:
    assert next_of(None, replace(FAILED, failure=Failure(reason=reason, message="x"))) is None


def test_what_ended_after_it_had_served_is_started_anew_at_once() -> None:
    served = STATE.model_copy(update={"timeline": (*STATE.timeline, StageAt(stage=Stage.READY, at=NOW))})
    assert next_of(None, replace(FAILED, passed=served)) is None
    killed = Failure(reason=Reason.OUT_OF_MEMORY, message="killed")
    assert next_of(None, RuntimeView(1, 0, pod(restarts=1), killed)) is None
    assert next_of(None, RuntimeView(1, 0, pod(restarts=2), killed)) is not None


def test_another_generation_or_another_profile_ends_it() -> None:
    first = next_of(None)
    assert cooldown.in_force(with_status(first, generation=2), GPU, NOW) is None
    assert cooldown.in_force(with_status(first), gpu("48Gi"), NOW) is None
    again = cooldown.after(with_status(first, generation=2), GPU, FAILED, 300.0, NOW)
    assert again is not None
    assert again.failures == 1


def test_what_was_counted_for_another_profile_is_not_counted_again_while_its_pod_is_still_seen() -> None:
    seen = replace(FAILED, pod=pod(restarts=1, last_exit=ended(1)))
    first, mended = next_of(None, seen), gpu("48Gi")
    told = with_status(first)
    assert not cooldown.outlived(told, GPU, seen)
    assert cooldown.outlived(told, mended, seen)
    assert cooldown.after(told, mended, seen, 300.0, NOW) == first  # kept, or it would be counted at the next look
    assert cooldown.lasting(first, told, mended, NOW) is None
    again = replace(seen, pod=pod(restarts=1, last_exit=replace(ended(1), finished=NOW)))
    assert not cooldown.outlived(told, mended, again)
    counted = cooldown.after(told, mended, again, 300.0, NOW)
    assert cooldown.lasting(counted, told, mended, NOW) == counted is not None
    assert cooldown.after(told, mended, RuntimeView(0, 0), 300.0, NOW) is None


def test_what_is_told_has_the_cause_and_when_it_goes_on() -> None:
    first = next_of(None)
    assert first is not None
    told = cooldown.failure(first)
    assert told.reason is Reason.ENGINE_FAILED
    assert told.message.startswith("no kernel; its start failed: tried again from 2027-")
    again = next_of(first, now=NOW + 300)
    assert again is not None
    assert "its last 2 starts failed" in cooldown.failure(again).message
