"""A model that says what it is told to, word by word: a tokenizer of characters and a batcher without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from dormouse_runtime.engines.generation import Finish, GenerationError, Sampling, Step

EOS = 0


class Characters:
    """One token per byte of UTF-8, so that a character may come in pieces; 0 ends."""

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: Sequence[int]) -> str:
        return bytes(token for token in tokens if token != EOS).decode(errors="replace")

    def chat(self, messages: list[dict[str, Any]], options: Mapping[str, Any]) -> list[int]:
        if any(message.get("role") == "bad" for message in messages):
            raise ValueError("the model's chat template refuses these messages: no such role")
        if options.get("says") == "nothing":
            return []
        tools = "".join(f"[{tool['function']['name']}]" for tool in options.get("tools") or ())
        talk = tools + "".join(f"{message['role']}:{message['content']}\n" for message in messages)
        return self.encode(talk.removesuffix("\n") if options.get("continue_final_message") else talk)


class Parrot:
    """Says `words` to every prompt. `gate`, where given, is awaited before each token."""

    def __init__(self, words: str, gate: asyncio.Event | None = None) -> None:
        self.words, self.gate = words, gate
        self.asked: list[tuple[list[int], Sampling]] = []
        self.closed = 0
        self.works = True
        self.started = asyncio.Semaphore(0)

    def alive(self) -> bool:
        return self.works

    async def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Step, None]:
        self.asked.append((list(prompt), sampling))
        self.started.release()
        tokens = [*self.words.encode(), EOS][: sampling.max_tokens]
        try:
            for place, token in enumerate(tokens):
                if not self.works:
                    raise GenerationError("the engine broke")
                if self.gate:
                    await self.gate.wait()
                last = place == len(tokens) - 1
                yield Step((token,), (Finish.STOP if token == EOS else Finish.LENGTH) if last else None)
        finally:
            self.closed += 1
