"""The conversation that travels as integers."""

import json
import random
import zlib

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


@pytest.mark.parametrize(
    "turns", [[{}], [{"role": "user"}], [{"content": "x"}], [{"role": "user", "content": "x"}, {}]]
)
def test_turns_that_lack_something_are_refused(turns: list[context.Turn]) -> None:
    with pytest.raises(Refusal, match="not made by this server"):
        context.decode(_packed(turns))


def _packed(turns: list[context.Turn]) -> list[int]:
    packed = zlib.compress(json.dumps(turns).encode())
    pieces = (int.from_bytes(packed[i : i + 3], "big") for i in range(0, len(packed), 3))
    return [len(packed), zlib.crc32(packed), *pieces]


def test_a_bomb_is_refused() -> None:
    packed = zlib.compress(b'[{"role": "user", "content": "' + b"a" * (9 * 1024 * 1024) + b'"}]')
    pieces = [int.from_bytes(packed[i : i + 3], "big") for i in range(0, len(packed), 3)]
    with pytest.raises(Refusal, match="not made by this server"):
        context.decode([len(packed), zlib.crc32(packed), *pieces])


def test_what_is_too_long_to_be_handed_back_loses_its_oldest_turns() -> None:
    system = {"role": "system", "content": "be brief"}
    noise = random.Random(1)  # noqa: S311 - only has to be hard to compress
    turns = [system]
    for number in range(20):
        turns.append({"role": "user", "content": f"{number} {noise.randbytes(100_000).hex()}"})
        turns.append({"role": "assistant", "content": str(number)})
    numbers = context.encode(turns)
    assert len(json.dumps(numbers, separators=(",", ":"))) < 6_000_000
    kept = context.decode(numbers)
    assert kept[0] == system
    assert kept[1:] == turns[len(turns) - len(kept) + 1 :]
    assert (len(kept) > 1, kept[1]["role"]) == (True, "user")
    alone = context.encode([system, {"role": "user", "content": noise.randbytes(4_000_000).hex()}])
    assert context.decode(alone) == [system]
    assert context.encode([{"role": "system", "content": "x" * 9_000_000}])
