"""What a good client asks and what an engine must answer it: words that name the request and their own position.

A client thus knows every answer whole: nothing missing, nothing doubled, nothing of somebody else's.
"""

import itertools
import json
import random
from dataclasses import dataclass, field
from typing import Any

_numbers = itertools.count(1)
LONG_WORD = 1024
"""Bytes of a word of a flood: an answer far larger than every buffer on its way."""


@dataclass(frozen=True)
class Ask:
    """One request: `words` words, `wide` ones for a flood, over one dialect."""

    model: str
    path: str = "/v1/chat/completions"
    stream: bool = True
    words: int = 20
    wide: bool = False
    unload: bool = False
    """Ollama's keep_alive 0: the model may sleep as soon as this is answered."""
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def ollama(self) -> bool:
        return self.path.startswith("/api/")

    @property
    def fields(self) -> dict[str, Any]:
        """The body."""
        content = f"{self.number} {self.words} {int(self.wide)}"
        asked: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        return asked | {"stream": self.stream} | ({"keep_alive": 0} if self.unload else {})

    @property
    def body(self) -> bytes:
        return json.dumps(self.fields).encode()

    @property
    def text(self) -> str:
        """What the whole answer says."""
        return "".join(spoken(self.number, self.words, self.wide))


@dataclass(frozen=True)
class Heard:
    """What an engine reads out of a request."""

    model: str
    number: int
    words: list[str]
    """To say."""
    stream: bool


def heard(body: bytes) -> Heard:
    asked = json.loads(body)
    number, words, wide = map(int, asked["messages"][-1]["content"].split())
    return Heard(asked["model"], number, spoken(number, words, bool(wide)), bool(asked.get("stream")))


def spoken(number: int, words: int, wide: bool) -> list[str]:
    padding = "x" * LONG_WORD if wide else ""
    return [f"{number}.{position}{padding} " for position in range(words)]


def some_ask(model: str, dice: random.Random) -> Ask:
    """A request as good clients make them."""
    path = dice.choice(("/v1/chat/completions", "/v1/chat/completions", "/api/chat"))
    unload = path.startswith("/api/") and dice.random() < 0.2
    return Ask(model, path, dice.random() < 0.7, dice.randint(3, 40), unload=unload)
