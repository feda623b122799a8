"""Which engines on which folder: one row per promise."""

from typing import Any

import pytest

from dormouse_api.anatomy import Anatomy
from dormouse_operator.decide.quantization import Impossible, Serving, choose
from dormouse_operator.settings import Q4_THRESHOLD_BYTES
from tests.operator.builders import COMMIT, facts, gpu, model, profile

FULL, INT4, NF4 = f"/models/{COMMIT}", f"/models/{COMMIT}-int4", f"/models/{COMMIT}-nf4"
BIG = Q4_THRESHOLD_BYTES + 1
NO_COPY = Anatomy(tensor_bytes={"BF16": BIG}, copy_bytes={})


@pytest.mark.parametrize(
    ("wanted", "known", "quantization", "copy", "attempts"),
    [
        ("auto", {}, "none", None, [("vllm", FULL, "none"), ("transformers", FULL, "none")]),
        ("auto", {"bytes": BIG}, "int4", "int4", [("vllm", INT4, "int4"), ("transformers", FULL, "nf4")]),
        (
            "auto",
            {"bytes": BIG, "anatomy": NO_COPY},
            "none",
            None,
            [("vllm", FULL, "none"), ("transformers", FULL, "none")],
        ),
        ("none", {"bytes": BIG}, "none", None, [("vllm", FULL, "none"), ("transformers", FULL, "none")]),
        (
            "auto",
            {"native_quantization": "gptq", "bytes": BIG},
            "gptq",
            None,
            [("vllm", FULL, "gptq"), ("transformers", FULL, "gptq")],
        ),
        (
            "auto",
            {"native_quantization": "bitsandbytes"},
            "bitsandbytes",
            None,
            [("transformers", FULL, "bitsandbytes")],
        ),
        ("awq", {"native_quantization": "awq"}, "awq", None, [("vllm", FULL, "awq"), ("transformers", FULL, "awq")]),
        ("int4", {}, "int4", "int4", [("vllm", INT4, "int4"), ("transformers", FULL, "nf4")]),
        (
            "int8",
            {},
            "int8",
            "int8",
            [("vllm", f"/models/{COMMIT}-int8", "int8"), ("transformers", FULL, "llm-int8")],
        ),
        ("nf4", {}, "nf4", "nf4", [("transformers", NF4, "nf4")]),
        ("llm-int8", {}, "llm-int8", "llm-int8", [("transformers", f"/models/{COMMIT}-llm-int8", "llm-int8")]),
    ],
)
def test_choice(
    wanted: str, known: dict[str, Any], quantization: str, copy: str | None, attempts: list[tuple[str, str, str]]
) -> None:
    serving = choose(model(quantization=wanted), facts(**known), profile(), Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert (serving.quantization, serving.copy) == (quantization, copy)
    assert [(a.engine.value, a.model_dir, a.quantization) for a in serving.attempts] == attempts


def test_the_users_order_is_obeyed_and_no_copy_is_made_for_an_engine_that_is_not_asked() -> None:
    serving = choose(
        model(quantization="int4", engine={"order": ["transformers"]}), facts(), profile(), Q4_THRESHOLD_BYTES
    )
    assert isinstance(serving, Serving)
    assert serving.copy is None
    assert [a.engine.value for a in serving.attempts] == ["transformers"]


def test_auto_makes_a_copy_where_the_full_weights_do_not_fit_the_device() -> None:
    serving = choose(model(), facts(bytes=8 * 10**9), gpu("8Gi"), Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert serving.quantization == "int4"


@pytest.mark.parametrize(("threshold", "quantization"), [(999, "int4"), (1000, "none")])
def test_the_threshold_is_the_administrators(threshold: int, quantization: str) -> None:
    serving = choose(model(), facts(bytes=1000), profile(), threshold)
    assert isinstance(serving, Serving)
    assert serving.quantization == quantization


@pytest.mark.parametrize(
    ("spec", "known", "fix"),
    [
        ({"quantization": "gptq"}, {}, "int4"),
        ({"quantization": "int4"}, {"native_quantization": "gptq"}, "auto"),
        ({"quantization": "nf4", "engine": {"order": ["vllm"]}}, {}, "engine.order"),
        ({"engine": {"order": ["vllm"]}}, {"native_quantization": "bitsandbytes"}, "engine.order"),
    ],
)
def test_what_no_engine_can_serve_is_refused_with_the_fix(
    spec: dict[str, Any], known: dict[str, Any], fix: str
) -> None:
    refused = choose(model(**spec), facts(**known), profile(), Q4_THRESHOLD_BYTES)
    assert isinstance(refused, Impossible)
    assert fix in refused.message
