"""Between the OpenAI server and whatever makes tokens: what is asked for, and what comes back, step by step.

Imports no engine library; the server knows nothing else of its engine.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol


class Finish(StrEnum):
    """Why a sequence ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. `temperature` 0 is greedy; `top_k` 0 and `top_p` 1 keep every token."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    min_tokens: int = 0
    ignore_eos: bool = False

    @property
    def plain(self) -> bool:
        """The scores are used as they come from the model."""
        return not (
            self.presence_penalty
            or self.frequency_penalty
            or self.repetition_penalty != 1.0
            or self.logit_bias
            or self.min_tokens
        )


class Row:
    """One sequence while it is generated: its own random numbers, so its seed holds whatever else is in the batch."""

    def __init__(self, prompt: Sequence[int], sampling: Sampling) -> None:
        self.prompt = tuple(prompt)
        self.sampling = sampling
        self.generated: list[int] = []
        self.failed: str | None = None
        """Why its next token could not be chosen: it ends, its company goes on."""
        self._random = random.Random(sampling.seed)  # noqa: S311 - sampling, not secrets

    def draw(self) -> float:
        """The next number in [0, 1) of this sequence."""
        return self._random.random()


@dataclass(frozen=True)
class Step:
    """Tokens made since the last step; `finish` on the last one. The end-of-sequence token is among them."""

    tokens: tuple[int, ...]
    finish: Finish | None = None


class GenerationError(Exception):
    """The engine could not go on with a sequence; the message says why."""


class Batcher(Protocol):
    """Makes tokens for many sequences at once."""

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Step, None]:
        """The steps of one sequence. Closing the iterator gives its place to another."""

    def alive(self) -> bool:
        """Whether it still works; a dead one never works again."""


class Tokenizer(Protocol):
    """What the server needs of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a plain text, with the special tokens a prompt begins with."""

    def chat(self, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        """Token ids of a conversation, by the model's template. ValueError where the template refuses it."""

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, without special tokens."""
