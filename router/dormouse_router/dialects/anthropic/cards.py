"""Models in Anthropic's lists. The path is OpenAI's too: `anthropic-version` tells who asks, and a card is made of
OpenAI's.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from dormouse_router.dialects.anthropic.errors import refuse
from dormouse_router.request import Refusal

Card = Mapping[str, Any]


def asked(request: Request) -> bool:
    """Whether a client of Anthropic's asks."""
    return "anthropic-version" in request.headers


def one(found: Callable[[], Card]) -> Response:
    """The answer with a single card, or with the refusal that `found` raises."""
    try:
        return Response(msgspec.json.encode(card(found())), media_type="application/json")
    except Refusal as refusal:
        reply = refuse(refusal)
        return Response(reply.body, reply.status, {name.decode(): value.decode() for name, value in reply.headers})


def card(found: Card) -> dict[str, Any]:
    """A card of OpenAI's list as one of Anthropic's."""
    length = found.get("max_model_len")
    limits = {} if length is None else {"max_input_tokens": length, "max_tokens": length}
    created = datetime.fromtimestamp(found["created"], UTC).isoformat().replace("+00:00", "Z")
    names = {"id": found["id"], "display_name": found["id"]}
    return {"type": "model", **names, "created_at": created, "lifecycle": "active", **limits}


def page(found: Sequence[Card]) -> dict[str, Any]:
    """All cards on one page."""
    ends = (found[0]["id"], found[-1]["id"]) if found else (None, None)
    return {"data": [card(one) for one in found], "has_more": False, "first_id": ends[0], "last_id": ends[1]}
