"""One streamed chat with a sleeping model: prints the answer as it comes, and how long each stage took.

Speaks plain OpenAI HTTP, as any client would. Knows kubectl only to read the model's status afterwards.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from dev.cluster.layout import ClusterError
from dev.target import Target
from dormouse_api.names import GROUP, MODEL_PLURAL

MODELS = f"{MODEL_PLURAL}.{GROUP}"
_LONGEST_SILENCE = 900.0
_WORDS = {
    "requested": "operator sees the wish",
    "created": "pod scheduled",
    "scheduled": "container started",
    "started": "supervisor",
    "importing": "engine imported",
    "loading": "weights loaded",
    "compiling": "kernels compiled",
    "warming": "engine warmed up",
}
"""What happens between a stage's mark and the next one's."""


@dataclass(frozen=True)
class Answer:
    """What came back, in seconds from the first byte of the request."""

    text: str
    first_token: float
    total: float


def ask(url: str, model: str, question: str) -> Answer:
    """Asks and prints the words as they arrive. ClusterError with the server's own words when it refuses."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}], "temperature": 0}
    started, first, words = time.monotonic(), 0.0, []
    timeout = httpx.Timeout(10, read=_LONGEST_SILENCE)
    with (
        httpx.Client(timeout=timeout, trust_env=False) as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=body) as response,
    ):
        if response.status_code != httpx.codes.OK:
            raise ClusterError(f"the chat was refused ({response.status_code}): {response.read().decode()}")
        for word in _words(response.iter_lines()):
            first = first or time.monotonic() - started
            words.append(word)
            print(word, end="", flush=True)
    print()
    return Answer("".join(words), first, time.monotonic() - started)


def _words(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line.removeprefix("data: "))
        if "error" in event:
            raise ClusterError(f"the chat broke off: {event['error'].get('message', event['error'])}")
        for choice in event.get("choices", []):
            if word := choice["delta"].get("content"):
                yield word


def starts(there: Target, model: str) -> list[dict[str, Any]]:
    """The model's recorded cold starts, the newest last."""
    found = there.get(f"{MODELS}/{model}", "--namespace", "default") or {}
    return sorted(found.get("status", {}).get("coldStarts") or [], key=lambda start: str(start["at"]))


def table(answer: Answer, start: dict[str, Any] | None) -> str:
    """The stages of the wake and of the answer, a line each."""
    rows: list[tuple[str, float]] = []
    stages = [(stage["stage"], stage["atMilliseconds"] / 1000) for stage in (start or {}).get("stages", [])]
    for (name, since), (_, until) in itertools.pairwise(stages):
        rows.append((_WORDS.get(name, name), until - since))
    if stages:
        rows.append(("router and first token", max(0.0, answer.first_token - stages[-1][1])))
    else:
        rows.append(("first token (the model was awake)", answer.first_token))
    rows += [("rest of the answer", answer.total - answer.first_token), ("together", answer.total)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {seconds:6.2f} s" for name, seconds in rows)
