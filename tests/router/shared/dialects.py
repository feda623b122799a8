"""One question in the words of each dialect, and what it has its engine do.

What the engine shall do is said in the question itself, which every dialect passes on: `plan:<number>:<what>`.
"""

import re
from typing import Any, NamedTuple

WORDS = re.compile(rb"plan:(\d+):(\w+)")
SPEAKS, FAILS, DIES, LEFT, WAITS = "speaks", "fails", "dies", "left", "waits"
"""Answers; refuses with a 500; dies in the middle; stops in the middle until its caller has left; never begins."""
PROMPT, MOST = 40, 6


class Plan(NamedTuple):
    """Of one call."""

    number: int
    what: str

    @property
    def prompt(self) -> int:
        return 10 + self.number % PROMPT

    @property
    def completion(self) -> int:
        return 2 + self.number % MOST

    @property
    def cached(self) -> int:
        return self.number % 10

    @property
    def told(self) -> int:
        """Tokens that the engine makes of the answer."""
        if self.what in (FAILS, WAITS):
            return 0
        return self.completion if self.what == SPEAKS else self.completion // 2 + 1

    def words(self) -> str:
        return f"plan:{self.number}:{self.what}"


def read(body: bytes) -> Plan:
    found = WORDS.search(body)
    assert found is not None, body
    return Plan(int(found[1]), found[2].decode())


Ask = tuple[str, dict[str, Any]]


def _chat(words: str, **more: Any) -> Ask:
    return "/v1/chat/completions", {"model": "bench", "messages": [{"role": "user", "content": words}], **more}


def streamed(words: str) -> dict[str, Ask]:
    """Path and body by name."""
    said = [{"role": "user", "content": words}]
    told = {"include_usage": True}
    return {
        "openai": _chat(words, stream=True),
        "openai told": _chat(words, stream=True, stream_options=told),
        "openai running": _chat(words, stream=True, stream_options=told | {"continuous_usage_stats": True}),
        "openai prompt": ("/v1/completions", {"model": "bench", "prompt": words, "stream": True}),
        "responses": ("/v1/responses", {"model": "bench", "input": words, "stream": True, "store": False}),
        "anthropic": ("/v1/messages", {"model": "bench", "max_tokens": 99, "messages": said, "stream": True}),
        "ollama": ("/api/chat", {"model": "bench", "messages": said}),
        "native": ("/chat", {"model": "bench", "message": words, "stream": True}),
    }


def whole(words: str) -> dict[str, Ask]:
    said = [{"role": "user", "content": words}]
    return {
        "openai": _chat(words),
        "responses": ("/v1/responses", {"model": "bench", "input": words, "store": False}),
        "anthropic": ("/v1/messages", {"model": "bench", "max_tokens": 99, "messages": said}),
        "ollama": ("/api/chat", {"model": "bench", "messages": said, "stream": False}),
        "native": ("/chat", {"model": "bench", "message": words}),
    }
