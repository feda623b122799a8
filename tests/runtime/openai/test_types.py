"""What a request says of its messages, as chat templates of weights know it."""

from __future__ import annotations

from typing import Any

import pytest

from dormouse_runtime.engines.openai.types import ChatRequest, TokenizeRequest

USER = {"role": "user", "content": "x"}


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ({"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        ({"role": "system", "content": "Be brief."}, {"role": "system", "content": "Be brief."}),
        (
            {"role": "assistant", "content": "x", "reasoning": "so"},
            {"role": "assistant", "content": "x", "reasoning": "so", "reasoning_content": "so"},
        ),
        (
            {"role": "assistant", "content": "x", "reasoning_content": "so"},
            {"role": "assistant", "content": "x", "reasoning_content": "so"},
        ),
        (
            {"role": "assistant", "content": None, "reasoning": None},
            {"role": "assistant", "content": None, "reasoning": None},
        ),
    ],
)
@pytest.mark.parametrize("shape", [ChatRequest, TokenizeRequest])
def test_roles_and_thoughts_have_the_names_that_templates_know(
    shape: type[ChatRequest | TokenizeRequest], said: dict[str, Any], known: dict[str, Any]
) -> None:
    assert shape.model_validate({"messages": [said, USER]}).messages == [known, USER]
