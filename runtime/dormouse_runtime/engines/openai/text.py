"""From tokens to text while it grows, and where to stop. Pure: no HTTP, no engine."""

from __future__ import annotations

from collections.abc import Sequence

from dormouse_runtime.engines.generation import Tokenizer

UNFINISHED = "\N{REPLACEMENT CHARACTER}"
CONTEXT = 6
"""Tokens decoded again with each new one, because a tokenizer may join pieces; more are kept only while unfinished."""


class Detokenizer:
    """Tokens in, text out, never half a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._shown = 0
        """Tokens at the front of `_tokens` whose text is out already."""

    def feed(self, tokens: Sequence[int]) -> str:
        """The text that became certain with `tokens`."""
        self._tokens += tokens
        before = self._tokenizer.decode(self._tokens[: self._shown])
        after = self._tokenizer.decode(self._tokens)
        if after.endswith(UNFINISHED) or len(after) <= len(before):
            return ""
        self._tokens = self._tokens[-CONTEXT:]
        self._shown = len(self._tokens)
        return after[len(before) :]

    def close(self) -> str:
        """What was held back and will get no better."""
        before = self._tokenizer.decode(self._tokens[: self._shown])
        return self._tokenizer.decode(self._tokens)[len(before) :]


class StopWatch:
    """Passes text on until one of the stop strings appears; holds back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped_by: str | None = None
        """The stop string that appeared."""

    @property
    def stopped(self) -> bool:
        return self.stopped_by is not None

    def feed(self, text: str) -> str:
        """The text before any stop string, as far as it is certain."""
        if self.stopped:
            return ""
        self._held += text
        found = [(at, stop) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            at, self.stopped_by = min(found)
            return self._release(at, drop=True)
        return self._release(len(self._held) - self._suspicious())

    def close(self) -> str:
        """What was held back: the sequence ended, so it was no stop string."""
        return self._release(len(self._held))

    def _suspicious(self) -> int:
        """Length of the longest tail that begins a stop string."""
        return max((overlap(self._held, stop) for stop in self._stops), default=0)

    def _release(self, length: int, drop: bool = False) -> str:
        out, self._held = self._held[:length], "" if drop else self._held[length:]
        return out


def overlap(text: str, word: str) -> int:
    """Length of the longest end of `text` that begins `word` and is not all of it."""
    for length in range(min(len(text), len(word) - 1), 0, -1):
        if text.endswith(word[:length]):
            return length
    return 0
