"""What to do about an engine's refusal: shorten a conversation that is too long, as Ollama does, or say the fix.

Pure: from the plan and the engine's words to another plan, or to the refusal the client gets.
"""

from dataclasses import replace
from typing import Any

from dormouse_router.dialects.complaints import limit, room, too_long, with_fix
from dormouse_router.dialects.ollama.translate import Plan
from dormouse_router.request import Refusal

TOO_LONG = "the input length exceeds the context length"
"""Ollama's own words."""


def shorter(plan: Plan, status: int, words: str) -> Plan | None:
    """A plan that may fit where `plan` did not; None where the engine's word is final.

    Where only the wish for tokens is too long, it becomes what there is room for. Else the older half of the
    conversation goes, again and again: the system messages stay, and what is left begins with a user, so that no
    tool's result stands without its call. One turn that is too long by itself loses its beginning.
    """
    if not too_long(status, words):
        return None
    left = room(words)
    wish = plan.body.get("max_tokens")
    if isinstance(wish, int) and left is not None and 0 < left < wish:
        return replace(plan, body={**plan.body, "max_tokens": left})
    if not plan.truncate:
        return None
    rendering = plan.rendering
    kept = _newer_half(rendering.messages if rendering is not None else plan.body.get("messages") or [])
    if kept is not None and rendering is not None:
        rendering = rendering.of(kept)
        changed: dict[str, Any] | None = {"prompt": rendering.prompt()}
    else:
        changed = {"messages": kept} if kept is not None else _cut(plan.body, words)
    return None if changed is None else replace(plan, body={**plan.body, **changed}, rendering=rendering)


def _cut(body: dict[str, Any], words: str) -> dict[str, Any] | None:
    """What makes the engine keep only the end of one prompt that is too long by itself, with room for an answer."""
    most = limit(words)
    if most is None or "truncate_prompt_tokens" in body:
        return None
    half = most // 2
    wish = body.get("max_tokens")
    answer = min(half, wish) if isinstance(wish, int) else half // 2
    return {"truncate_prompt_tokens": most - answer, "truncation_side": "left"}


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
    if too_long(status, words):
        return Refusal(status, f"{TOO_LONG}: {words}")
    return Refusal(status if 400 <= status < 500 and status != 404 else 500, with_fix(words))
