"""What to do about an engine's refusal: shorten a conversation that is too long, as Ollama does, or say the fix.

Pure: from the plan and the engine's words to another plan, or to the refusal the client gets.
"""

import re
from dataclasses import replace
from typing import Any

import msgspec

from dormouse_router.dialects.ollama.chunks import error_text
from dormouse_router.dialects.ollama.translate import Plan
from dormouse_router.gateway import Refusal

_TOO_LONG = ("context length", "max_model_len")
_LIMIT = re.compile(r"(?:maximum context length is|max_model_len=)\s*(\d+)")
_PROMPT = re.compile(r"(\d+) (?:in the prompt|in the messages|input tokens)")
_NO_PARSER = "tool-call-parser"


def words_of(body: bytes) -> str:
    """The sentence in an engine's error body, whatever its form."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:1000].decode(errors="replace").strip() or "the engine failed without a word"
    return error_text(found)


def shorter(plan: Plan, status: int, words: str) -> Plan | None:
    """A plan that may fit where `plan` did not; None where the engine's word is final.

    Where only the wish for tokens is too long, it becomes what there is room for. Else the older half of the
    conversation goes, again and again: the system messages stay, and what is left begins with a user, so that no
    tool's result stands without its call. One turn that is too long by itself loses its beginning.
    """
    if status != 400 or not any(sign in words for sign in _TOO_LONG):
        return None
    room = _room(words)
    wish = plan.body.get("max_tokens")
    if isinstance(wish, int) and room is not None and 0 < room < wish:
        return replace(plan, body={**plan.body, "max_tokens": room})
    if not plan.truncate:
        return None
    kept = _newer_half(plan.body.get("messages") or [])
    changed = {"messages": kept} if kept is not None else _cut(plan.body, words)
    return None if changed is None else replace(plan, body={**plan.body, **changed})


def _cut(body: dict[str, Any], words: str) -> dict[str, Any] | None:
    """What makes the engine keep only the end of one prompt that is too long by itself, with room for an answer."""
    limit = _LIMIT.search(words)
    if limit is None or "truncate_prompt_tokens" in body:
        return None
    half = int(limit[1]) // 2
    wish = body.get("max_tokens")
    answer = min(half, wish) if isinstance(wish, int) else half // 2
    return {"truncate_prompt_tokens": int(limit[1]) - answer, "truncation_side": "left"}


def _room(words: str) -> int | None:
    """Tokens left for the answer, as far as the engine's words tell."""
    limit, prompt = _LIMIT.search(words), _PROMPT.search(words)
    return int(limit[1]) - (int(prompt[1]) if prompt else 0) if limit else None


def _newer_half(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    system = [message for message in messages if message["role"] == "system"]
    turns = [message for message in messages if message["role"] != "system"]
    starts = [index for index, turn in enumerate(turns) if index and turn["role"] == "user"]
    if not starts:
        return None
    start = next((index for index in starts if index >= len(turns) // 2), starts[-1])
    return [*system, *turns[start:]]


def refusal(status: int, words: str) -> Refusal:
    """What the client is told. An engine's own trouble is a 500; what the client can change keeps its 4xx."""
    if _NO_PARSER in words:
        words = "this model is served without a tool parser: set spec.engine.toolCallParser of its InferenceModel"
    return Refusal(status if 400 <= status < 500 and status != 404 else 500, words)
