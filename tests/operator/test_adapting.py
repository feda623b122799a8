"""What an engine was adapted to: remembered, begun with, forgotten; and the copy that is made as a last resort."""

from dataclasses import replace
from typing import Any

import pytest

from dormouse_api.conditions import Reason
from dormouse_api.names import COMPONENT_QUANTIZE
from dormouse_api.runtime import Adaptation, Passed, RuntimeConfig, RuntimeState, Setting, Stage
from dormouse_api.status import InferenceModelStatus
from dormouse_operator import status
from dormouse_operator.decide import adapting, cooldown
from dormouse_operator.decide.quantization import Serving, choose
from dormouse_operator.observed import Model, Observed, Profile, Runtime
from dormouse_operator.plan.model import plan
from tests.operator.builders import (
    COMMIT,
    NOW,
    SETTINGS,
    claim,
    ended,
    facts,
    gpu,
    model,
    observed,
    pod,
    profile,
    remembered,
    state,
    wish,
)

STEP = Adaptation(
    engine="vllm", setting=Setting.SEQUENCES, before="64", after="16", because="torch.OutOfMemoryError: $HOME is full"
)
SHORT = Passed(engine="vllm", reason=Reason.OUT_OF_MEMORY, message="CUDA out of memory", seconds=9)


def adapting_model(generation: int = 1, **spec: Any) -> Model:
    made = remembered(model(generation=generation, **({"engine": {"adapt": True}} | spec)), facts(), COMMIT)
    return replace(made, status=made.status.model_copy(update={"observed_generation": generation}))


def with_status(m: Model, known: InferenceModelStatus) -> Model:
    return replace(m, status=known)


def look(m: Model, told: RuntimeState | None, runtime: Runtime, **more: Any) -> Observed:
    base: dict[str, Any] = {"claim": claim(), "wish": wish(60), "pods": (pod(ready_at=NOW),), "profile": profile()}
    return observed(m, **(base | {"runtime": runtime, "state": told} | more))


def build(o: Observed) -> InferenceModelStatus:
    return status.build(o, plan(o, SETTINGS, NOW), None, NOW)


def told(o: Observed) -> RuntimeConfig:
    """What the Deployment that is planned tells its pods."""
    (wanted,) = [each for each in plan(o, SETTINGS, NOW).apply if each["kind"] == "Deployment"]
    found = adapting.told(wanted["spec"]["template"])
    assert found is not None
    return found


def template(o: Observed) -> dict[str, Any]:
    (wanted,) = [each for each in plan(o, SETTINGS, NOW).apply if each["kind"] == "Deployment"]
    return dict(wanted["spec"]["template"])


UP = Runtime(1, NOW - 5, {}, {})
DOWN = Runtime(0, None, {}, {})


def learnt(m: Model) -> InferenceModelStatus:
    return build(look(m, state(adapted=(STEP,)), UP))


def test_what_worked_is_in_the_status_and_the_next_start_begins_with_it() -> None:
    m = adapting_model()
    first = learnt(m)
    assert first.engine is not None
    assert first.engine.wire()["adapted"] == [
        {"engine": "vllm", "setting": "maxNumSeqs", "from": "64", "to": "16", "because": STEP.because}
    ]
    asleep = look(with_status(m, first), None, DOWN, pods=())
    assert told(asleep).adapted == (STEP,)
    assert told(asleep).adapt
    assert build(asleep).engine == first.engine  # asleep, and after a restart: nothing to write


def test_a_pod_that_serves_is_never_replaced_for_what_it_has_learnt() -> None:
    m = adapting_model()
    before = template(look(m, None, DOWN, pods=()))
    serving = look(with_status(m, learnt(m)), state(adapted=(STEP,)), Runtime(1, NOW, before, {}))
    assert template(serving) == before
    woken = look(with_status(m, learnt(m)), None, Runtime(0, None, before, {}), pods=())
    assert told(woken).adapted == (STEP,)
    again = look(with_status(m, learnt(m)), state(adapted=(STEP,)), Runtime(1, NOW, template(woken), {}))
    assert template(again) == template(woken)  # dollars in words are doubled, and undoubled again


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"adapt": True, "maxModelLen": 512}},
        {"quantization": "none"},
        {"source": {"uri": "hf://org/name", "revision": "v2"}},
        {"engine": {"adapt": False}},
    ],
)
def test_a_change_of_what_decides_the_memory_forgets_it(change: dict[str, Any]) -> None:
    known = learnt(adapting_model())
    changed = with_status(adapting_model(generation=2, **change), known)
    assert adapting.remembered(changed, profile()) == ()
    seen = build(look(changed, None, DOWN, pods=()))
    assert seen.engine is None or (seen.engine.adapted, seen.engine.adapted_for) == (None, None)


def test_another_profile_forgets_it_and_another_scaling_does_not() -> None:
    known = learnt(adapting_model())
    same = with_status(adapting_model(generation=2, scaling={"idleSeconds": 9}), known)
    assert adapting.remembered(same, profile()) == (STEP,)
    assert adapting.remembered(same, profile(kvCacheMemory="2Gi")) == ()
    assert adapting.remembered(same, None) == ()


def test_what_still_runs_for_another_spec_has_learnt_nothing_of_this_one() -> None:
    m = adapting_model(generation=2)
    older = with_status(m, m.status.model_copy(update={"observed_generation": 1}))
    seen = build(look(older, state(adapted=(STEP,)), UP))
    assert seen.engine is not None
    assert seen.engine.adapted is None


def failed(*passed: Passed, adapted: tuple[Adaptation, ...] = (STEP,)) -> RuntimeState:
    return state(Stage.FAILED, passed=passed, failure=passed[-1], adapted=adapted, timeline=())


def fail(m: Model, told: RuntimeState, on: Profile) -> Observed:
    dead = pod(exit=ended(1, told.model_dump_json()), restarts=1)
    return look(m, None, UP, pods=(dead,), profile=on)


def test_where_no_setting_is_left_a_copy_is_made_and_everything_is_tried_in_full_again() -> None:
    m, on = adapting_model(), gpu()
    seen = build(fail(m, failed(SHORT), on))
    assert seen.engine is not None
    assert [(s.setting, s.before, s.after) for s in seen.engine.adapted or ()] == [("quantization", "none", "int4")]
    assert seen.cooldown is not None
    after = with_status(m, seen)
    assert cooldown.in_force(after, on, NOW + 1) is None  # it is another thing that is started now
    serving = choose(after, facts(), on, 10**12)
    assert isinstance(serving, Serving)
    assert serving.copy == "int4"
    assert plan(look(after, None, DOWN, pods=(), profile=on), SETTINGS, NOW).pipeline.stage == COMPONENT_QUANTIZE


@pytest.mark.parametrize(
    ("spec", "passed"),
    [
        ({"quantization": "none"}, SHORT),
        ({"engine": {"adapt": False}}, SHORT),
        ({}, SHORT.model_copy(update={"reason": Reason.UNSUPPORTED})),
    ],
)
def test_no_copy_is_made_where_nobody_allowed_it_or_memory_was_not_the_cause(
    spec: dict[str, Any], passed: Passed
) -> None:
    m = adapting_model(**spec)
    seen = build(fail(m, failed(passed), gpu()))
    assert not adapting.shrunk(with_status(m, seen), gpu())


def test_a_container_over_its_limit_is_a_rung_of_the_ladder_and_no_failure_yet() -> None:
    killed = ended(137, reason="OOMKilled")
    for adapts, restarts, fails in ((True, 1, False), (True, 5, False), (True, 9, True), (False, 1, True)):
        m = adapting_model(engine={"adapt": adapts})
        o = look(m, None, UP, pods=(pod(last_exit=killed, restarts=restarts),))
        view = plan(o, SETTINGS, NOW).runtime
        assert (view.failure is not None) is fails, (adapts, restarts)


def test_steps_of_another_version_are_passed_over() -> None:
    m = adapting_model()
    known = learnt(m)
    assert known.engine is not None
    strange = [{"engine": "vllm", "setting": "dreams", "from": "1", "to": "2", "because": "x"}]
    wire = known.wire() | {"engine": known.engine.wire() | {"adapted": strange}}
    assert adapting.remembered(with_status(m, InferenceModelStatus.model_validate(wire)), profile()) == ()
    assert adapting.told({"spec": {"containers": [{"env": [{"name": "DORMOUSE_RUNTIME", "value": "{"}]}]}}) is None
    assert adapting.told({}) is None
