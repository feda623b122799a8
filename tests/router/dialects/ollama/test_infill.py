"""Prompts for gaps: each form to the letter, whatever stands in the texts."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.ollama.infill import prompt
from dormouse_router.dialects.ollama.requests import GenerateRequest
from dormouse_router.dialects.ollama.translate import generate_plan
from tests.router.dialects.records import known_status, record


@pytest.mark.parametrize(
    ("token", "written"),
    [
        ("<|fim_middle|>", "<|fim_prefix|>{a}<|fim_suffix|>b<|fim_middle|>"),
        ("<fim_middle>", "<fim_prefix>{a}<fim_suffix>b<fim_middle>"),
        ("<fim-middle>", "<fim-prefix>{a}<fim-suffix>b<fim-middle>"),
        ("<｜fim▁hole｜>", "<｜fim▁begin｜>{a}<｜fim▁hole｜>b<｜fim▁end｜>"),  # noqa: RUF001 - the token's own characters
        ("▁<MID>", "<PRE> {a} <SUF>b <MID>"),
        ("[MIDDLE]", "[SUFFIX]b[PREFIX]{a}"),
        ("<new>", None),
        (None, None),
    ],
)
def test_the_forms(token: str | None, written: str | None) -> None:
    assert prompt(token, "{a}", "b") == written


@given(st.text(), st.text())
def test_both_texts_are_in_it_as_they_are(before: str, after: str) -> None:
    assert prompt("<fim_middle>", before, after) == f"<fim_prefix>{before}<fim_suffix>{after}<fim_middle>"


@pytest.mark.parametrize(
    ("infill", "sent"),
    [
        ("<fim_middle>", {"prompt": "<fim_prefix>def f(<fim_suffix>return 1<fim_middle>"}),
        (None, {"prompt": "def f(", "suffix": "return 1"}),
    ],
)
def test_a_model_gets_its_own_form_and_an_engine_the_suffix_where_none_is_known(
    infill: str | None, sent: dict[str, str]
) -> None:
    inspected = {"key": "k", "infill": infill}
    served = record(status=known_status(capabilities=["completion", "insert"], inspected=inspected))
    plan = generate_plan(GenerateRequest(prompt="def f(", suffix="return 1"), served, "coder", date(2026, 1, 2))
    assert plan.path == "/v1/completions"
    assert {name: plan.body[name] for name in ("prompt", "suffix") if name in plan.body} == sent
