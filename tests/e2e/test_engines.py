"""Story 5: which engine serves, why the first did not, and copies quantized once. Real vLLM and transformers."""

import pytest

from dormouse_operator.decide.copies import GOOD_AGREEMENT
from tests.e2e.engines import CASES, Outcomes
from tests.e2e.samples import PARIS


@pytest.mark.timeout(600)
@pytest.mark.parametrize("base", [base for base in CASES if base != "odd"])
async def test_quantized_copy_is_made_once_and_served(engines: Outcomes, base: str) -> None:
    case, outcome = CASES[base], await engines[base]
    assert outcome.quantized.status == "True", outcome.quantized
    assert outcome.answers == [PARIS] * case.starts
    assert outcome.copies == [1] * case.starts
    assert outcome.pods == case.starts
    engine = outcome.status["engine"]
    assert (engine["name"], engine["quantization"]) == (case.engine, case.quantization)
    copy = outcome.status["quantized"]
    assert copy["bytes"] < copy["originalBytes"]
    assert float(copy["quality"]["agreement"]) >= GOOD_AGREEMENT, copy
    for start in outcome.status["coldStarts"]:
        stages = {entry["stage"] for entry in start["stages"]}
        assert {"requested", "loading", "ready"} <= stages
        assert "quantizing" not in stages


@pytest.mark.timeout(600)
async def test_architecture_that_vllm_refuses_is_served_by_transformers(engines: Outcomes) -> None:
    outcome = await engines["odd"]
    assert outcome.answers == [PARIS]
    engine = outcome.status["engine"]
    assert engine["name"] == "transformers"
    (passed,) = engine["attempts"]
    assert (passed["engine"], passed["reason"]) == ("vllm", "Unsupported")
    assert "not supported" in passed["message"]
