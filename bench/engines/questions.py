"""What every engine is asked: the same prompts and lengths, from a seed. Pure."""

import random
from dataclasses import dataclass

SHORTEST, LONGEST = 16, 112


@dataclass(frozen=True)
class Question:
    """`tokens`: how many are to be made of it, whatever the model would say by itself."""

    prompt: str
    tokens: int


def questions(clients: int, seed: int = 7) -> list[Question]:
    """Two for each client, and at least eight; lengths are uniform, as no two callers want the same."""
    chance = random.Random(seed)  # noqa: S311 - lengths, no secret
    return [
        Question(f"<|im_start|>user\nTell me story {number}.<|im_end|>\n", chance.randint(SHORTEST, LONGEST))
        for number in range(max(8, 2 * clients))
    ]


def total(asked: list[Question]) -> int:
    """Tokens that are to be made."""
    return sum(question.tokens for question in asked)
