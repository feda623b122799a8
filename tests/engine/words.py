"""Deterministic text: tokens, answers, embeddings, log probabilities. Pure functions of their arguments."""

import base64
import hashlib
import math
import re
import struct
from random import Random

_TOKEN = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_SENTENCE = (
    "the a sleepy small dormouse model wakes answers quietly under autumn leaves and counts hazel nuts until "
    "somebody calls again then it dreams of warm honey long nights soft moss"
)
_VOCABULARY = _SENTENCE.split()

KNOWN = {
    "What is the capital of France?": "Paris.",
    "Hello": "Hello!",
}
"""Questions whose answers tests rely on; the first is also what the trained model knows."""

EMBEDDING_SIZE = 16


def tokens(text: str) -> list[str]:
    """`text` in pieces that join to it again."""
    return _TOKEN.findall(text)


def token_id(token: str) -> int:
    """A stable id of a token, in the size of a real vocabulary."""
    return int.from_bytes(hashlib.sha256(token.encode()).digest()[:2], "little")


def answer(prompt: str, seed: int | None, index: int, length: int | None = None) -> list[str]:
    """The tokens of the answer to `prompt`: known words, or a sentence drawn from (prompt, seed, index)."""
    known = KNOWN.get(prompt.strip())
    if known is not None and length is None:
        return tokens(known)
    draw = Random(f"{prompt}\0{seed}\0{index}")  # noqa: S311 - words, not secrets
    words = [draw.choice(_VOCABULARY) for _ in range((length or 9) - 1)]
    return tokens(" ".join(words).capitalize() + ".")


def logprob(token: str, rank: int = 0) -> float:
    """A plausible log probability: the same for the same token and rank."""
    return -round(0.05 + token_id(token) / 2**18 + rank, 6)


def alternatives(token: str, count: int) -> list[str]:
    """`count` tokens as candidates for the place of `token`, the chosen one first."""
    return [token, *(f" {word}" for word in _VOCABULARY)][:count]


def embedding(text: str, size: int = EMBEDDING_SIZE) -> list[float]:
    """A vector of length 1, the same for the same text."""
    draw = Random(f"embed\0{text}")  # noqa: S311 - numbers, not secrets
    raw = [draw.uniform(-1, 1) for _ in range(size)]
    norm = math.sqrt(sum(value * value for value in raw)) or 1.0
    return [value / norm for value in raw]


def packed(vector: list[float]) -> str:
    """The base64 form the SDKs ask for: little-endian float32."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def plain(text: str) -> set[str]:
    """The words of a text, in lower case."""
    return {word.lower() for word in re.findall(r"\w+", text)}


def likeness(left: str, right: str) -> float:
    """How much of `left`'s words `right` has, from 0 to 1."""
    wanted = plain(left)
    return round(len(wanted & plain(right)) / (len(wanted) or 1), 6)
