"""Reasoning out of the text of a model whose engine does not tell it apart: `<think>...</think>` before the answer.

Pure, and fed piece by piece: a tag may be cut anywhere.
"""

from enum import Enum

OPEN, CLOSE = "<think>", "</think>"


class _State(Enum):
    BEGINNING = 0
    THINKING = 1
    ANSWERING = 2


class Splitter:
    """`feed` text as it comes; what may still turn out to be a tag is kept back until it is clear."""

    def __init__(self) -> None:
        self._state = _State.BEGINNING
        self._kept = ""
        self._trim = False
        """White space at the beginning of the reasoning, or of the answer after it, is left out."""

    def feed(self, text: str) -> tuple[str, str]:
        """(answer, reasoning) that `text` completes."""
        if self._state is _State.ANSWERING and not self._trim:
            return text, ""
        self._kept += text
        reasoning = ""
        if self._state is _State.BEGINNING:
            self._begin()
        if self._state is _State.THINKING:
            reasoning = self._think()
        return (self._answer(), reasoning) if self._state is _State.ANSWERING else ("", reasoning)

    def end(self) -> tuple[str, str]:
        """What was kept back, now that no more comes."""
        kept, self._kept = self._kept, ""
        return ("", kept) if self._state is _State.THINKING else (kept, "")

    def _begin(self) -> None:
        start = self._kept.lstrip()
        if start.startswith(OPEN):
            self._kept = start[len(OPEN) :]
            self._state, self._trim = _State.THINKING, True
        elif not OPEN.startswith(start):
            self._state = _State.ANSWERING

    def _think(self) -> str:
        if self._trim:
            self._kept = self._kept.lstrip()
            self._trim = not self._kept
        reasoning, closed, rest = self._kept.partition(CLOSE)
        if closed:
            self._state, self._trim, self._kept = _State.ANSWERING, True, rest
            return reasoning.rstrip()
        sure = len(reasoning) - _overlap(reasoning)
        sure = len(reasoning[:sure].rstrip())
        self._kept = reasoning[sure:]
        return reasoning[:sure]

    def _answer(self) -> str:
        text = self._kept.lstrip() if self._trim else self._kept
        self._kept, self._trim = "", self._trim and not text
        return text


def _overlap(text: str) -> int:
    """Characters at the end of `text` that may be the beginning of a closing tag."""
    return next((n for n in range(min(len(CLOSE) - 1, len(text)), 0, -1) if CLOSE.startswith(text[-n:])), 0)
