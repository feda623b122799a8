"""Preflight from the inspection to the callers: told at once, nothing pulled, cured by itself, never written twice."""

from typing import Any

import pytest

from dormouse_api.anatomy import Anatomy, CacheLayers
from dormouse_api.conditions import Reason, is_failure
from dormouse_api.status import Condition
from dormouse_operator import status
from dormouse_operator.decide.fit import preflight
from dormouse_operator.decide.memory import GIB
from dormouse_operator.observed import Observed
from dormouse_operator.plan.model import plan
from tests.operator.bench import Bench
from tests.operator.builders import (
    COMMIT,
    NOW,
    SETTINGS,
    claim,
    facts,
    gpu,
    inspected,
    model,
    observed,
    profile,
    remembered,
)
from tests.operator.world import done

ANATOMY = Anatomy(
    tensor_bytes={"BF16": 10 * GIB},
    copy_bytes={"int4": 4 * GIB},
    cache=[CacheLayers(layers=40, heads=8, width=256)],
    attention_heads=32,
)
KNOWN = facts(bytes=10 * GIB, anatomy=ANATOMY, context_length=32_768)
ACCELERATOR = {"resource": "nvidia.com/gpu", "count": 1}


def conditions(o: Observed) -> dict[str, Condition]:
    found = status.build(o, plan(o, SETTINGS, NOW), None, NOW).conditions
    return {condition.type: condition for condition in found or ()}


@pytest.mark.parametrize(
    ("o", "verdict", "words"),
    [
        pytest.param(observed(), ("Unknown", "Pending"), "once the weights are inspected", id="new"),
        pytest.param(observed(profile=None), ("Unknown", "Pending"), "the profile is there", id="no profile"),
        pytest.param(
            observed(remembered(model(), KNOWN)),
            ("Unknown", "NotMeasurable"),
            "10.0 GiB of weights + 1.0 GiB KV for 6,528 tokens x 1; profile cpu names no accelerator",
            id="processor",
        ),
        pytest.param(
            observed(remembered(model(engine={"maxModelLen": 8192}), KNOWN), profile=gpu("16Gi", kvCacheMemory="2Gi")),
            ("True", "Fits"),
            "10.0 GiB of weights + 2.0 GiB KV for 8,192 tokens x 1 + 1.0 GiB overhead = 13.0 of 16.0 GiB of profile",
            id="fits",
        ),
        pytest.param(
            observed(remembered(model(quantization="none"), KNOWN), profile=gpu("8Gi", kvCacheMemory=None)),
            ("False", "DoesNotFit"),
            "set quantization int4 (5.3 GiB in all)",
            id="does not fit",
        ),
    ],
)
def test_the_condition(o: Observed, verdict: tuple[str, str], words: str) -> None:
    found = conditions(o)["Preflight"]
    assert (found.status, found.reason) == verdict
    assert words in found.message


def test_what_does_not_fit_is_a_failure_that_callers_see_at_once() -> None:
    o = observed(remembered(model(quantization="none"), KNOWN), profile=gpu("8Gi", kvCacheMemory=None))
    ready = conditions(o)["Ready"]
    assert (ready.status, ready.reason) == ("False", Reason.DOES_NOT_FIT.value)
    assert ready.message == conditions(o)["Preflight"].message
    assert is_failure(ready.reason)


def test_auto_becomes_int4_where_only_that_fits() -> None:
    o = observed(remembered(model(), KNOWN), profile=gpu("8Gi", kvCacheMemory=None))
    assert conditions(o)["Preflight"].status == "True"
    assert status.build(o, plan(o, SETTINGS, NOW), None, NOW).quantization == "int4"


def test_the_engine_is_given_the_cache_that_was_worked_out() -> None:
    m, card = model(), gpu("24Gi", kvCacheMemory=None)
    done_plan = plan(observed(remembered(m, KNOWN, COMMIT), profile=card, claim=claim()), SETTINGS, NOW)
    (deployment,) = [body for body in done_plan.apply if body["kind"] == "Deployment"]
    (told,) = [e for e in deployment["spec"]["template"]["spec"]["containers"][0]["env"] if "RUNTIME" in e["name"]]
    assert f'"kv_cache_bytes":{preflight(m, KNOWN, card, "none").kv_bytes}' in told["value"]


def inspect_says(bench: Bench, **more: Any) -> None:
    message = inspected(bytes=10 * GIB, anatomy=ANATOMY.model_dump(), context_length=32_768, **more)
    bench.world.jobs["inspect"] = lambda pod: done(message)


async def test_nothing_is_pulled_and_a_larger_profile_cures_it(bench: Bench) -> None:
    inspect_says(bench)
    small, large = ACCELERATOR | {"memory": "8Gi"}, ACCELERATOR | {"memory": "24Gi"}
    bench.world.profile("card", device="cuda", accelerator=small, kvCacheMemory=None)
    key = bench.world.model("tiny", profile="card", quantization="none")
    await bench.settle()
    assert bench.condition() == bench.condition("Preflight") == ("False", "DoesNotFit")
    assert bench.of_kind("PersistentVolumeClaim") == []
    requests = len(bench.world.requests)
    bench.queue.add(key)
    await bench.settle()
    await bench.pass_time(4000)
    assert len(bench.world.requests) == requests, "a steady model must not be written"
    bench.world.profile("card", device="cuda", accelerator=large, kvCacheMemory=None)
    bench.reconciler.forget_profiles()
    bench.queue.add(key)
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.condition("Preflight") == ("True", "Fits")


async def test_another_quantization_cures_it(bench: Bench) -> None:
    inspect_says(bench)
    small = ACCELERATOR | {"memory": "8Gi"}
    bench.world.profile("card", device="cuda", accelerator=small, kvCacheMemory=None)
    bench.world.model("tiny", profile="card", quantization="none")
    await bench.settle()
    bench.world.model("tiny", profile="card", quantization="int4")
    await bench.settle()
    assert bench.condition() == ("True", "ScaledToZero")
    assert bench.condition("Quantized") == ("True", "Quantized")


async def test_a_runtime_that_serves_goes_on_when_the_new_spec_does_not_fit(bench: Bench) -> None:
    inspect_says(bench)
    card = ACCELERATOR | {"memory": "16Gi"}
    bench.world.profile("card", device="cuda", accelerator=card, kvCacheMemory=None)
    bench.world.model("tiny", profile="card", engine={"maxModelLen": 8192})
    await bench.settle()
    bench.world.wake("tiny", 600)
    await bench.settle()
    bench.world.model("tiny", profile="card", engine={"maxModelLen": 131_072})
    await bench.settle()
    assert bench.condition() == ("True", "Serving")
    assert "the new revision waits" in bench.message()
    assert bench.condition("Preflight") == ("False", "DoesNotFit")
    assert bench.replicas() == 1


def test_a_profile_of_the_chart_for_processors_is_never_refused() -> None:
    huge = facts(bytes=10**13, anatomy=ANATOMY)
    assert conditions(observed(remembered(model(), huge), profile=profile()))["Ready"].reason == "Pulling"
