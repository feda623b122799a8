"""An engine that knows what Ollama's integration tests ask for, in vLLM's words: it answers, calls tools, embeds.

Deterministic: a token is a word, and a text's vector is made of its words, so that texts which share some are near.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from tests.router.fakes import Exchange

CONTEXT = 512
"""Tokens of a text to embed, with the two that stand around it."""
_ANSWER = (
    "Rayleigh scattering in the atmosphere \U0001f600 : sunlight and water droplets in a story of a sunny world, "
    "soil, air and nitrogen, Russia and Europe, and the declaration of independence in July ."
)
_SEEN = "The ollamas: four llamas cross Abbey Road, one with glasses and a briefcase."
_KNOWN = {"12 multiplied by 15": "It is 180.", "capital of Japan": "Tokyo."}
_TOPICS = (("cat", "kitten"), ("king", "queen"), ("paris", "london"), ("python", "programming", "coding"))
_DIMENSIONS = 64


async def serve(exchange: Exchange) -> None:
    """Every route of the engine."""
    if exchange.path.endswith("/embeddings"):
        await _embed(exchange)
    elif exchange.path.endswith("/tokenize"):
        await exchange.answer({"count": len(_tokens(exchange.json["prompt"]))})
    else:
        await _talk(exchange)


async def _talk(exchange: Exchange) -> None:
    wish = exchange.json
    await exchange.stream_head()
    call = _called(wish)
    words = [] if call else re.findall(r"\S+\s*", _answer(wish))[: wish.get("max_tokens") or None]
    thought = {"index": 0, "delta": {"reasoning": "Let me see."}, "finish_reason": None}
    thinks = wish.get("chat_template_kwargs", {}).get("enable_thinking")
    for choice in (*([thought] if thinks else []), *_said(words, wish), *([call] if call else [])):
        await exchange.event({"choices": [choice]})
    cut = len(words) == wish.get("max_tokens")
    await exchange.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length" if cut else "stop"}]})
    usage = {"prompt_tokens": 9, "completion_tokens": max(1, len(words)), "total_tokens": 10}
    await exchange.event({"choices": [], "usage": usage})
    await exchange.finish()


def _answer(wish: dict[str, Any]) -> str:
    images = [
        part["image_url"]["url"]
        for message in wish.get("messages") or ()
        if isinstance(message["content"], list)
        for part in message["content"]
        if part["type"] == "image_url"
    ]
    if images:
        whole = all(_is_picture(*image.split(";base64,")) for image in images)
        return _SEEN if whole else "That is no picture."
    asked = json.dumps(wish.get("messages"))
    return next((answer for words, answer in _KNOWN.items() if words in asked), _ANSWER)


def _is_picture(kind: str, data: str) -> bool:
    """Whether the bytes are what the client's address says they are."""
    magic = {"data:image/png": b"\x89PNG", "data:image/jpeg": b"\xff\xd8\xff", "data:image/webp": b"RIFF"}
    return base64.b64decode(data, validate=True).startswith(magic[kind])


def _said(words: list[str], wish: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for word in words:
        choice: dict[str, Any] = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        if wish.get("logprobs"):
            # as vLLM does it: what was chosen comes first, however likely the others are
            tops = [_entry(f"{word}{n}", -0.1 - n / 10) for n in range(wish.get("top_logprobs") or 0)]
            choice["logprobs"] = {"content": [{**_entry(word, -0.5), "top_logprobs": [_entry(word, -0.5), *tops]}]}
        yield choice


def _entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}


def _called(wish: dict[str, Any]) -> dict[str, Any] | None:
    """The call of the only tool, with the place that was asked for last."""
    last = wish["messages"][-1] if wish.get("messages") else {}
    if not wish.get("tools") or last.get("role") != "user":
        return None
    place = "Boston" if "Boston" in last["content"] else "San Francisco"
    function = {"name": wish["tools"][0]["function"]["name"], "arguments": json.dumps({"location": place})}
    return {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call-1", "function": function}]}}


# ------------------------------------------------------------------ vectors


async def _embed(exchange: Exchange) -> None:
    wish = exchange.json
    most = wish.get("truncate_prompt_tokens")
    limit = CONTEXT if most == -1 else most
    texts = [_tokens(text) for text in wish["input"]]
    if limit is not None:
        texts = [["<s>", *tokens[1:-1][: max(0, limit - 2)], "</s>"] for tokens in texts]
    if any(len(tokens) > CONTEXT for tokens in texts):
        words = f"This model's maximum context length is {CONTEXT} tokens. Your prompt is longer."
        await exchange.answer({"error": {"message": words, "code": 400}}, 400)
        return
    data = [{"index": index, "embedding": _vector(tokens)} for index, tokens in enumerate(texts)]
    await exchange.answer({"data": data, "usage": {"prompt_tokens": sum(len(tokens) for tokens in texts)}})


def _tokens(text: str) -> list[str]:
    return ["<s>", *re.findall(r"\w+", text.lower()), "</s>"]


def _vector(tokens: list[str]) -> list[float]:
    found = [0.001] * _DIMENSIONS
    for token in tokens[1:-1]:
        topic = next((words[0] for words in _TOPICS if token in words), token)
        for word, weight in ((token, 1.0), (topic, 2.0)):
            found[hashlib.sha256(word.encode()).digest()[0] % _DIMENSIONS] += weight
    return [x / math.sqrt(len(tokens)) for x in found]
