"""Which engines on which folder: one row per promise."""

from typing import Any

import pytest

from dormouse_operator.decide.quantization import AUTO_LIMIT, Impossible, Serving, choose, too_big
from tests.operator.builders import COMMIT, facts, gpu, model, profile

FULL, INT4, NF4 = f"/models/{COMMIT}", f"/models/{COMMIT}-int4", f"/models/{COMMIT}-nf4"
BIG = AUTO_LIMIT + 1


@pytest.mark.parametrize(
    ("wanted", "known", "quantization", "copy", "attempts"),
    [
        ("auto", {}, "none", None, [("vllm", FULL, "none"), ("transformers", FULL, "none")]),
        ("auto", {"bytes": BIG}, "int4", "int4", [("vllm", INT4, "int4"), ("transformers", FULL, "nf4")]),
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
    serving = choose(model(quantization=wanted), facts(**known), profile())
    assert isinstance(serving, Serving)
    assert (serving.quantization, serving.copy) == (quantization, copy)
    assert [(a.engine.value, a.model_dir, a.quantization) for a in serving.attempts] == attempts


def test_the_users_order_is_obeyed_and_no_copy_is_made_for_an_engine_that_is_not_asked() -> None:
    serving = choose(model(quantization="int4", engine={"order": ["transformers"]}), facts(), profile())
    assert isinstance(serving, Serving)
    assert serving.copy is None
    assert [a.engine.value for a in serving.attempts] == ["transformers"]


def test_auto_makes_a_copy_where_the_full_weights_do_not_fit_the_device() -> None:
    serving = choose(model(), facts(bytes=8 * 10**9), gpu("8Gi"))
    assert isinstance(serving, Serving)
    assert serving.quantization == "int4"


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
    refused = choose(model(**spec), facts(**known), profile())
    assert isinstance(refused, Impossible)
    assert fix in refused.message


def test_weights_beyond_all_devices_are_refused_before_a_byte_is_pulled() -> None:
    huge = facts(bytes=100 * 10**9)
    serving = choose(model(), huge, gpu("24Gi"))
    assert isinstance(serving, Serving)
    assert "24Gi" in (too_big(huge, serving, gpu("24Gi")) or "")
    assert too_big(huge, serving, gpu("24Gi", count=2)) is None
    assert too_big(huge, serving, profile()) is None
