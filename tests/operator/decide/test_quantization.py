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


TEXTS = {"configMap": {"name": "texts"}}


def test_a_calibrated_copy_has_a_folder_of_its_own_and_needs_the_profiles_image() -> None:
    wanted = model(quantization="int4", calibration=TEXTS)
    refused = choose(wanted, facts(), profile(), Q4_THRESHOLD_BYTES)
    assert isinstance(refused, Impossible)
    assert "quantizerImage" in refused.message
    able = profile(quantizerImage="registry/quantizer:1")
    serving = choose(wanted, facts(), able, Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert serving.folder is not None
    assert serving.folder.startswith(f"{COMMIT}-int4-")
    assert serving.attempts[0].model_dir == f"/models/{serving.folder}"
    other = choose(model(quantization="int4", calibration=TEXTS | {"samples": 8}), facts(), able, Q4_THRESHOLD_BYTES)
    assert isinstance(other, Serving)
    assert other.folder != serving.folder


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


DRAWS = {"capabilities": ("image",)}
OWN = {"custom": {"entryPoint": "house.prices:Model"}}


@pytest.mark.parametrize(
    ("spec", "known", "of_profile", "engine"),
    [
        ({}, DRAWS, {}, "diffusers"),
        ({}, DRAWS | {"bytes": BIG}, {}, "diffusers"),
        ({"engine": {"order": ["vllm"]}}, DRAWS, {}, "diffusers"),
        ({"quantization": "none"}, DRAWS, {}, "diffusers"),
        ({}, {}, OWN, "custom"),
        ({}, DRAWS, OWN, "custom"),
        ({"engine": {"order": ["vllm"]}}, {"native_quantization": "gptq", "bytes": BIG}, OWN, "custom"),
    ],
)
def test_what_is_no_language_model_has_one_engine_and_its_weights_stay(
    spec: dict[str, Any], known: dict[str, Any], of_profile: dict[str, Any], engine: str
) -> None:
    serving = choose(model(**spec), facts(**known), profile(**of_profile), Q4_THRESHOLD_BYTES)
    assert isinstance(serving, Serving)
    assert (serving.quantization, serving.copy) == ("none", None)
    assert [(a.engine.value, a.model_dir, a.quantization) for a in serving.attempts] == [(engine, FULL, "none")]


@pytest.mark.parametrize(("known", "of_profile"), [(DRAWS, {}), ({}, OWN)])
def test_a_copy_of_what_is_no_language_model_is_refused_with_the_fix(
    known: dict[str, Any], of_profile: dict[str, Any]
) -> None:
    verdict = choose(model(quantization="int4"), facts(**known), profile(**of_profile), Q4_THRESHOLD_BYTES)
    assert isinstance(verdict, Impossible)
    assert "set quantization to auto or none" in verdict.message


@pytest.mark.parametrize("order", [["diffusers"], ["custom"], ["diffusers", "custom"]])
def test_an_order_without_an_engine_of_words_is_refused_with_the_fix(order: list[str]) -> None:
    verdict = choose(model(engine={"order": order}), facts(), profile(), Q4_THRESHOLD_BYTES)
    assert isinstance(verdict, Impossible)
    assert "add vllm or transformers" in verdict.message
