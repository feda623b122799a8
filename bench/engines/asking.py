"""Clients of an engine's OpenAI API: so many at once, each with its next question when it has its answer."""

import asyncio
import itertools
import statistics
import time
from dataclasses import dataclass

import httpx

from bench.engines.questions import Question, total

PATIENCE = 300.0


@dataclass(frozen=True)
class Answered:
    tokens_per_second: float
    first_token_seconds: float
    """Median over the questions."""


async def ask(port: int, asked: list[Question], clients: int) -> Answered:
    """All of `asked` by `clients` at once; raises when an answer has not the tokens asked for."""
    waiting = iter(asked)
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits) as session:

        async def one() -> list[float]:
            return [await _answer(session, question) for question in waiting]

        began = time.monotonic()
        firsts = list(itertools.chain(*await asyncio.gather(*(one() for _ in range(clients)))))
        seconds = time.monotonic() - began
    return Answered(total(asked) / seconds, statistics.median(firsts))


async def _answer(session: httpx.AsyncClient, question: Question) -> float:
    """Seconds until the first token."""
    body = {
        "model": "bench",
        "prompt": question.prompt,
        "max_tokens": question.tokens,
        "min_tokens": question.tokens,
        "ignore_eos": True,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began, first, last = time.monotonic(), 0.0, ""
    async with session.stream("POST", "/v1/completions", json=body) as response:
        if response.status_code != 200:
            raise SystemExit(f"the engine answers {response.status_code}: {(await response.aread()).decode()[:500]}")
        async for line in response.aiter_lines():
            first = first or time.monotonic() - began
            last = line if '"completion_tokens"' in line else last
    if f'"completion_tokens":{question.tokens}' not in last.replace(" ", ""):
        raise SystemExit(f"{question.tokens} tokens were asked for, and the engine says {last[:300]!r}")
    return first
