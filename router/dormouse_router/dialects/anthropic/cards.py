"""Models in Anthropic's lists. The path is OpenAI's too, so their cards are made of OpenAI's. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

VERSION = "anthropic-version"
"""The header by which Anthropic's clients are known."""
Card = dict[str, Any]


def card(found: Card) -> Card:
    """A card of OpenAI's list as one of Anthropic's."""
    length = found.get("max_model_len")
    limits = {} if length is None else {"max_input_tokens": length, "max_tokens": length}
    created = datetime.fromtimestamp(found["created"], UTC).isoformat().replace("+00:00", "Z")
    names = {"id": found["id"], "display_name": found["id"]}
    return {"type": "model", **names, "created_at": created, "lifecycle": "active", **limits}


def page(found: Sequence[Card]) -> Card:
    """All cards on one page."""
    ends = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    return {"data": [card(one) for one in found], "has_more": False, "first_id": ends[0], "last_id": ends[1]}
