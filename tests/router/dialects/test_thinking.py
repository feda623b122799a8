"""Reasoning told apart from the answer, wherever the text is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dormouse_router.dialects.thinking import Splitter


def split(*pieces: str) -> tuple[str, str]:
    splitter = Splitter()
    parts = [splitter.feed(piece) for piece in pieces] + [splitter.end()]
    return "".join(answer for answer, _ in parts), "".join(reasoning for _, reasoning in parts)


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("Paris.", "Paris.", ""),
        ("<think>hm</think>Paris.", "Paris.", "hm"),
        ("\n<think>\nhm, well\n</think>\n\nParis. ", "Paris. ", "hm, well"),
        ("<think></think>\n\nParis.", "Paris.", ""),
        ("<think>a < b </ think> </thin</think>4", "4", "a < b </ think> </thin"),
        ("<think>cut off", "", "cut off"),
        ("<think>cut off </thi", "", "cut off </thi"),
        ("<thinker>", "<thinker>", ""),
        ("  <thi", "  <thi", ""),
        ("Is <think> a tag?</think>", "Is <think> a tag?</think>", ""),
        ("<think>a</think>b</think><think>c", "b</think><think>c", "a"),
        ("", "", ""),
    ],
)
def test_texts(text: str, answer: str, reasoning: str) -> None:
    assert split(text) == (answer, reasoning)
    assert split(*text) == (answer, reasoning)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", " ", "\n", "a", "<", "</", "th", "ink>"]), max_size=12),
    st.lists(st.integers(0, 80), max_size=8),
)
def test_cuts_change_nothing(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    assert split(*(text[a:b] for a, b in itertools.pairwise(edges))) == split(text)
