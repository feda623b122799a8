"""The lines of a batch for a real engine: completions of random words, whose lengths are told and kept."""

import json
import random
from pathlib import Path
from typing import Any

from bench.routing.bodies import MODEL

COMPLETIONS = "/v1/completions"
WORDS = ("time", "year", "people", "way", "day", "thing", "world", "school", "hand", "part", "place", "case", "week")
WARMING = 64
"""Prompts that are answered before anything is measured."""
MEASURED, WARM, DIRECT, CALLED = range(4)
"""What a prompt is for: prompts of different use have nothing in common."""


def body(number: int, words: int, tokens: int, use: int = MEASURED) -> dict[str, Any]:
    """No two begin alike, so that no cache of prompts helps anybody."""
    chance = random.Random(use * 1_000_003 + number)  # noqa: S311 - prompts, no secret
    text = " ".join(chance.choices(WORDS, k=words))
    prompt = f"{number * 4 + use} {text}"
    return {"model": MODEL, "prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "temperature": 0}


def write(file: Path, numbers: range, words: int, tokens: int, use: int = MEASURED) -> None:
    with file.open("w") as out:
        for number in numbers:
            line = {"custom_id": f"r-{number}", "method": "POST", "url": COMPLETIONS}
            out.write(json.dumps(line | {"body": body(number, words, tokens, use)}) + "\n")


def asked(file: Path) -> list[dict[str, Any]]:
    """The bodies in a file that `write` has made."""
    return [json.loads(line)["body"] for line in file.read_text().splitlines()]


def warming(words: int = 8, tokens: int = 8) -> list[dict[str, Any]]:
    return [body(number, words, tokens, WARM) for number in range(WARMING)]
