"""From observation to conditions: what stays byte-equal, what flips, and what a user reads."""

from typing import Any

import pytest

from dormouse_api.conditions import ConditionType, Reason
from dormouse_api.results import Failure, Progress
from dormouse_api.runtime import Passed, Stage
from dormouse_api.status import ColdStart, Condition, EngineStatus, InferenceModelStatus, PullStatus
from dormouse_operator import status
from dormouse_operator.decide.coldstart import stamp
from dormouse_operator.happenings import happenings
from dormouse_operator.observed import Model, Observed
from dormouse_operator.plan import jobs
from dormouse_operator.plan.model import plan
from tests.operator.builders import (
    COMMIT,
    NOW,
    SETTINGS,
    claim,
    ended,
    facts,
    failure,
    job,
    model,
    observed,
    pod,
    profile,
    remembered,
    state,
    wish,
)


def build(o: Observed, refused: Failure | None = None, now: float = NOW) -> InferenceModelStatus:
    return status.build(o, plan(o, SETTINGS, now), refused, now)


def said(o: Observed, refused: Failure | None = None) -> dict[str, tuple[str, str]]:
    return {c.type: (c.status, c.reason) for c in build(o, refused).conditions or ()}


def ready_model(**spec: Any) -> Model:
    return remembered(model(**spec), facts(), COMMIT)


def pulling(**more: Any) -> Observed:
    m = remembered(model(), facts())
    work = jobs.pull(m, SETTINGS, facts(), claim(), profile())
    return observed(m, claim=claim(), jobs=(job("pull", work.digest),), pods=(pod("pull", **more),))


@pytest.mark.parametrize(
    ("o", "expected"),
    [
        pytest.param(
            observed(),
            {"Ready": ("False", "Inspecting"), "ModelPulled": ("False", "Inspecting"), "Idle": ("False", "Pending")},
            id="new",
        ),
        pytest.param(observed(profile=None), {"Ready": ("False", "ProfileNotFound")}, id="no profile"),
        pytest.param(pulling(), {"Ready": ("False", "Pulling"), "ModelPulled": ("False", "Pulling")}, id="pulling"),
        pytest.param(
            pulling(phase="Failed", exit=ended(42, failure("NoSpace"))),
            {"Ready": ("False", "NoSpace"), "ModelPulled": ("False", "NoSpace"), "StorageBound": ("True", "Bound")},
            id="disk full",
        ),
        pytest.param(
            observed(ready_model(), claim=claim()),
            {
                "Ready": ("True", "ScaledToZero"),
                "StorageBound": ("True", "Bound"),
                "ModelPulled": ("True", "Pulled"),
                "Quantized": ("False", "NotWanted"),
                "RuntimeAvailable": ("False", "NoPod"),
                "Idle": ("True", "ScaledToZero"),
            },
            id="asleep",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(), wish=wish(60)),
            {
                "Ready": ("True", "Waking"),
                "RuntimeAvailable": ("False", "Waking"),
                "Idle": ("False", "InUse"),
            },
            id="called",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(), wish=wish(60), pods=(pod(ready_at=NOW),)),
            {"Ready": ("True", "Serving"), "RuntimeAvailable": ("True", "PodReady")},
            id="serving",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(), wish=wish(60), pods=(pod(waiting="ErrImagePull"),)),
            {"Ready": ("False", "ImagePullFailed"), "RuntimeAvailable": ("False", "ImagePullFailed")},
            id="no image",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(bound=False)),
            {"Ready": ("True", "ScaledToZero"), "StorageBound": ("False", "WaitingForConsumer")},
            id="unbound is no error",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(deleting=True)),
            {"Ready": ("False", "StorageFailed")},
            id="volume goes",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(lost=True)), {"StorageBound": ("False", "StorageFailed")}, id="lost"
        ),
        pytest.param(
            observed(ready_model(storage={"existingClaim": "mine"})),
            {"Ready": ("False", "StorageFailed")},
            id="no claim",
        ),
        pytest.param(
            observed(ready_model(), claim=claim(uid="claim-2")), {"Ready": ("False", "Pulling")}, id="another volume"
        ),
        pytest.param(
            observed(ready_model(quantization="int4"), claim=claim()),
            {"Ready": ("False", "Quantizing"), "Quantized": ("False", "Quantizing")},
            id="copying",
        ),
    ],
)
def test_conditions(o: Observed, expected: dict[str, tuple[str, str]]) -> None:
    found = said(o)
    assert {kind: found[kind] for kind in expected} == expected
    assert list(found) == [kind.value for kind in ConditionType]


def test_every_failure_says_more_than_its_name() -> None:
    for o in (observed(profile=None), observed(ready_model(), claim=claim(lost=True))):
        ready = (build(o).conditions or [])[0]
        assert len(ready.message) > 40


def test_a_refusal_of_the_api_server_is_readys_business() -> None:
    refused = Failure(reason=Reason.STORAGE_FAILED, message="quota exceeded")
    found = said(observed(remembered(model(), facts())), refused)
    assert found["Ready"] == ("False", "StorageFailed")
    assert found["StorageBound"] == ("False", "StorageFailed")


def test_an_unchanged_model_has_an_equal_status_and_a_time_moves_only_with_a_flip() -> None:
    o = observed(ready_model(), claim=claim())
    first = build(o)
    again = Model("ns", "tiny", "uid-1", 1, o.model.spec, first)
    later = build(observed(again, claim=claim()), now=NOW + 500)
    assert status.same(first.wire(), later.wire())
    woken = build(observed(again, claim=claim(), wish=wish(60, NOW + 500)), now=NOW + 500)
    moved = {c.type for c in woken.conditions or () if c.last_transition_time == stamp(NOW + 500)}
    assert moved == {"Idle"}


def test_another_owners_condition_is_no_difference_but_a_stale_one_of_ours_is() -> None:
    wire = build(observed(ready_model(), claim=claim())).wire()
    foreign = {"type": "Audited", "status": "True"}
    assert isinstance(wire["conditions"], list)
    assert status.same(wire | {"conditions": [foreign, *reversed(wire["conditions"])]}, wire)
    assert not status.same(wire, wire | {"conditions": wire["conditions"][1:]})
    assert not status.same(wire | {"progress": "3%"}, wire)


def test_progress_is_shown_while_pulling_and_gone_afterwards() -> None:
    told = Progress(stage="fetching", bytes=1, total=3, bytes_per_second=7.6, eta_seconds=0.4, file="a")
    o = pulling()
    seen = build(Observed(**{**vars(o), "progress": told}))
    assert seen.progress == "33%"
    assert seen.pull == PullStatus(
        stage="fetching", bytes=1, total=3, bytes_per_second=8, eta_seconds=0, percent=33, file="a", announced=25
    )
    assert build(observed(ready_model(), claim=claim(), progress=told)).pull is None


def test_why_the_first_engine_does_not_serve_is_told_while_the_second_starts() -> None:
    passed = (Passed(engine="vllm", reason=Reason.UNSUPPORTED, message="no such architecture", seconds=1.6),)
    live = state(Stage.LOADING, engine="transformers", passed=passed)
    o = observed(ready_model(), claim=claim(), wish=wish(60), pods=(pod(),), state=live)
    (available,) = [c for c in build(o).conditions or () if c.type == ConditionType.RUNTIME_AVAILABLE]
    assert available.message == "loading (transformers); vllm, Unsupported: no such architecture"


def test_the_engine_of_a_start_is_remembered_after_the_pod_is_gone() -> None:
    passed = (Passed(engine="vllm", reason=Reason.UNSUPPORTED, message="m", seconds=1.6),)
    live = state(Stage.READY, engine="transformers", passed=passed)
    o = observed(ready_model(), claim=claim(), wish=wish(60), pods=(pod(ready_at=NOW),), state=live)
    seen = build(o)
    assert seen.engine is not None
    assert seen.engine.name == "transformers"
    assert [(a.engine, a.seconds) for a in seen.engine.attempts or ()] == [("vllm", 2)]
    assert seen.cold_starts is not None
    kept = build(observed(Model("ns", "tiny", "uid-1", 1, o.model.spec, seen), claim=claim()))
    assert kept.engine == seen.engine
    assert kept.cold_starts == seen.cold_starts


def test_an_engine_that_is_only_being_tried_is_not_said_to_serve() -> None:
    tried = state(Stage.IMPORTING, engine="vllm")
    first = observed(ready_model(), claim=claim(), wish=wish(60), pods=(pod(),), state=tried)
    assert build(first).engine is None
    served = InferenceModelStatus.model_validate({**ready_model().status.model_dump(), "engine": ENGINE_BEFORE})
    again = Model("ns", "tiny", "uid-1", 1, first.model.spec, served)
    seen = build(observed(again, claim=claim(), wish=wish(60), pods=(pod(),), state=tried))
    assert seen.engine == ENGINE_BEFORE


ENGINE_BEFORE = EngineStatus(name="transformers", quantization="none")


def test_a_model_with_its_own_python_takes_predictions_and_keeps_its_schema_while_it_sleeps() -> None:
    own = profile(custom={"entryPoint": "house.prices:Model"})
    live = state(Stage.READY, engine="custom", input_schema='{"type": "object"}')
    o = observed(ready_model(), profile=own, claim=claim(), wish=wish(60), pods=(pod(ready_at=NOW),), state=live)
    awake = build(o)
    assert awake.capabilities == ["predict"]
    asleep = build(observed(Model("ns", "tiny", "uid-1", 1, o.model.spec, awake), profile=own, claim=claim()))
    assert asleep.capabilities == ["predict"]
    assert asleep.engine is not None
    assert asleep.engine.input_schema == '{"type":"object"}'
    other = build(observed(Model("ns", "tiny", "uid-1", 1, o.model.spec, asleep), claim=claim()))
    assert other.capabilities == ["completion"]


def test_an_unreadable_spec_keeps_the_memory_of_the_volume() -> None:
    old = build(observed(ready_model(), claim=claim()))
    raw = {"metadata": {"generation": 7}, "status": old.wire()}
    new = status.unreadable(raw, "no such field", NOW)
    assert new.volume == old.volume
    assert (new.conditions or [])[0].reason == "InvalidSpec"
    assert len(new.conditions or []) == len(old.conditions or [])


# ------------------------------------------------------------------------------------------------------ events


def with_ready(reason: str, value: str = "True", **more: Any) -> InferenceModelStatus:
    ready = Condition(
        type="Ready", status=value, reason=reason, message="why", observed_generation=1, last_transition_time=stamp(NOW)
    )
    return InferenceModelStatus(conditions=[ready], **more)


def at(percent: int) -> dict[str, Any]:
    told = min(percent // 25 * 25, 75)
    pull = PullStatus(stage="fetching", bytes=percent, total=100, bytes_per_second=1, percent=percent, announced=told)
    return {"pull": pull}


START = ColdStart(at=stamp(NOW), seconds=4, engine="vllm", stages=[])
ENGINE = EngineStatus(name="vllm", quantization="none")


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        (InferenceModelStatus(), with_ready("Inspecting", "False"), ["Created"]),
        (with_ready("Inspecting", "False"), with_ready("Pulling", "False", commit="c", bytes=1), ["Inspected"]),
        (with_ready("Pulling", "False"), with_ready("Pulling", "False", **at(3)), ["PullStarted"]),
        (with_ready("Pulling", "False", **at(3)), with_ready("Pulling", "False", **at(24)), []),
        (with_ready("Pulling", "False", **at(24)), with_ready("Pulling", "False", **at(60)), ["PullProgress"]),
        (with_ready("Pulling", "False", **at(80)), with_ready("Pulling", "False", **at(100)), []),
        (with_ready("Inspecting", "False"), with_ready("Queued", "False"), ["Queued"]),
        (with_ready("Pulling", "False"), with_ready("Gated", "False"), ["Gated"]),
        (with_ready("Pulling", "False"), with_ready("Quantizing", "False"), ["QuantizeStarted"]),
        (with_ready("ScaledToZero"), with_ready("Waking"), ["Waking"]),
        (with_ready("Waking"), with_ready("Serving", cold_starts=[START], engine=ENGINE), ["Started", "Awake"]),
        (with_ready("Serving"), with_ready("ScaledToZero"), ["Asleep"]),
        (with_ready("Serving"), with_ready("Serving", replicas=2), []),
        (with_ready("Waking"), with_ready("EngineFailed", "False"), ["EngineFailed"]),
    ],
)
def test_happenings(old: InferenceModelStatus, new: InferenceModelStatus, reasons: list[str]) -> None:
    found = happenings("tiny", old, new)
    assert [h.reason for h in found] == reasons
    assert all(h.warning == (h.reason in ("Gated", "EngineFailed")) for h in found)


def test_an_awakening_tells_seconds_and_engine() -> None:
    (_, awake) = happenings("tiny", with_ready("Waking"), with_ready("Serving", cold_starts=[START], engine=ENGINE))
    assert awake.note == "tiny serves with vllm, 4 s after it was asked for"
