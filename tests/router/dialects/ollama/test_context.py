"""The conversation that travels as integers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.ollama import context
from dormouse_router.request import Refusal

TURNS = st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text()}))


@given(TURNS)
def test_what_is_encoded_comes_back(turns: list[context.Turn]) -> None:
    numbers = context.encode(turns)
    assert numbers
    assert all(0 <= number < 2**32 for number in numbers)
    assert context.decode(numbers) == turns


@pytest.mark.parametrize("none", [None, []])
def test_no_context_is_no_conversation(none: list[int] | None) -> None:
    assert context.decode(none) == []


@given(st.lists(st.integers(min_value=-(2**63), max_value=2**63), min_size=1))
def test_foreign_integers_are_refused_with_the_fix(numbers: list[int]) -> None:
    with pytest.raises(Refusal, match="send the context of an earlier reply"):
        context.decode(numbers)


def test_a_bomb_is_refused() -> None:
    numbers = context.encode([{"role": "user", "content": "a" * (9 * 1024 * 1024)}])
    with pytest.raises(Refusal, match="not made by this server"):
        context.decode(numbers)
