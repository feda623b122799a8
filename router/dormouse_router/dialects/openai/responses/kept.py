"""Answers that are kept: what a request refers to, and what becomes of it. The store below may refuse with 503."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from dormouse_router.dialects.openai.responses import items, objects
from dormouse_router.dialects.openai.responses.items import Ids, Kept
from dormouse_router.dialects.openai.responses.objects import UNFINISHED, Object
from dormouse_router.dialects.openai.responses.requests import Asked, CreateRequest, Item, bad_value
from dormouse_router.keeping import Responses, StoredResponse
from dormouse_router.notifying import Event
from dormouse_router.request import Refusal

log = structlog.get_logger()
BEAT = "beat"
"""In the object of an unfinished answer, as it is stored: when the router that makes it was last heard of."""
STALE_SECONDS = 60.0
"""An unfinished answer of which nothing was heard for so long has lost its router."""
_ID = re.compile(r"resp_\w{1,64}", re.ASCII)
"""Nothing else is an id: there are characters that no database takes."""
_encode, _decode = msgspec.json.encode, msgspec.json.decode


@dataclass(slots=True)
class Turn:
    """One answer that is to be made."""

    wish: CreateRequest
    owner: str
    base: Object
    """The response before anything is said."""
    items: list[Kept]
    """What was sent for it."""
    ids: Ids
    """Of the items that are still to come."""


class Keeper:
    """`Responses` in the words of this API."""

    def __init__(self, responses: Responses, seconds: float) -> None:
        """`seconds`: how long an answer is kept."""
        self._responses, self._seconds = responses, seconds

    # ------------------------------------------------------------------ for a request

    async def conversation(self, wish: Asked, owner: str, ids: Ids) -> tuple[list[Kept], list[Kept]]:
        """The items that came before, and those of the request itself. Refusal 400 or 404 where one is not there."""
        history = [] if wish.previous_response_id is None else await self._history(wish.previous_response_id, owner)
        if isinstance(wish.input, str):
            return history, [items.text_message(wish.input, ids)]
        known = {item["id"] for item in history}
        found: dict[str, dict[str, Kept]] = {}
        own = []
        for number, item in enumerate(wish.input or ()):
            if not items.is_reference(item):
                own.append(items.kept_form(item, f"input[{number}]", ids))
            elif item.id not in known:
                own.append(await self._referred(item, owner, found))
        return history, own

    async def _history(self, previous: str, owner: str) -> list[Kept]:
        chain = await self._responses.chain(previous, owner) if _ID.fullmatch(previous) else None
        if chain is None:
            text = f"Previous response with id '{previous[:80]}' not found, or one before it is not kept any more."
            raise Refusal(400, text, code="previous_response_not_found", param="previous_response_id")
        said: list[Kept] = []
        for stored in chain:
            response = _decode(stored.body)
            if response["status"] in UNFINISHED:
                raise bad_value("previous_response_id", f"'{stored.id}' is not finished yet: wait for it")
            said += _decode(stored.input_items)
            said += response["output"]
        return said

    async def _referred(self, item: Item, owner: str, found: dict[str, dict[str, Kept]]) -> Kept:
        ident = item.id or ""
        response_id = items.response_of(ident)
        if response_id is not None and response_id not in found:
            stored = await self._responses.get(response_id, owner)
            found[response_id] = {} if stored is None else _items_of(stored)
        if response_id is None or ident not in found[response_id]:
            text = (
                f"Item with id '{ident[:80]}' not found: it was not kept, or not for long enough. Send the item itself."
            )
            raise Refusal(404, text, param="input")
        return found[response_id][ident]

    # ------------------------------------------------------------------ for an answer

    async def keep(self, turn: Turn, response: Object) -> Object:
        """Keep the response, if it is to be kept, and give it as it now is.

        Where it cannot be kept although nobody asked for that in so many words, it says so: `store` is false.
        """
        if not response["store"]:
            return response
        try:
            await self.put(turn, response)
        except Refusal as refusal:
            if turn.wish.store:
                raise
            log.warning("a response could not be kept", id=response["id"], why=refusal.message)
            return response | {"store": False}
        return response

    async def put(self, turn: Turn, response: Object) -> None:
        """Keep the response. Refusal 503."""
        body = response | {BEAT: time.time()} if response["status"] in UNFINISHED else response
        created = float(response["created_at"])
        previous, expires = response["previous_response_id"], created + self._seconds
        stored = StoredResponse(
            response["id"], turn.owner, previous, created, _encode(body), _encode(turn.items), expires
        )
        await self._responses.put(stored, _ended(response))

    async def wanted(self, turn: Turn) -> bool:
        """Whether an unfinished answer is still to be finished: it was neither cancelled nor deleted."""
        stored = await self._responses.get(turn.base["id"], turn.owner)
        return stored is not None and _decode(stored.body)["status"] in UNFINISHED

    # ------------------------------------------------------------------ for who asks later

    async def find(self, ident: str, owner: str) -> Object:
        """The response as it is now. Refusal 404."""
        stored = await self._stored(ident, owner)
        response: Object = _decode(stored.body)
        beat = response.pop(BEAT, None)
        if beat is not None and time.time() - beat > STALE_SECONDS:
            response = objects.failed(
                response, [], "The router that made this response is gone: send the request again."
            )
            await self._replace(stored, response)
        return response

    async def cancel(self, ident: str, owner: str) -> Object:
        """Mark an unfinished response as cancelled, wherever it is made. Refusal 404."""
        stored = await self._stored(ident, owner)
        response: Object = _decode(stored.body)
        if response.pop(BEAT, None) is not None:
            response = objects.cancelled(response)
            await self._replace(stored, response)
        return response

    async def input_items(self, ident: str, owner: str) -> list[Kept]:
        """What was sent for the response, oldest first. Refusal 404."""
        found: list[Kept] = _decode((await self._stored(ident, owner)).input_items)
        return found

    async def delete(self, ident: str, owner: str) -> None:
        """Refusal 404."""
        if not _ID.fullmatch(ident) or not await self._responses.delete(ident, owner):
            raise _unknown(ident)

    async def _stored(self, ident: str, owner: str) -> StoredResponse:
        stored = await self._responses.get(ident, owner) if _ID.fullmatch(ident) else None
        if stored is None:
            raise _unknown(ident)
        return stored

    async def _replace(self, stored: StoredResponse, response: Object) -> None:
        await self._responses.put(
            StoredResponse(
                stored.id,
                stored.owner,
                stored.previous_id,
                stored.created_at,
                _encode(response),
                stored.input_items,
                stored.expires_at,
            ),
            _ended(response),
        )


def _ended(response: Object) -> Event | None:
    """What endpoints are told of it: the end of one that nobody waited for."""
    if not response["background"] or response["status"] in UNFINISHED:
        return None
    return Event(f"response.{response['status']}", response["id"], time.time())


def _items_of(stored: StoredResponse) -> dict[str, Kept]:
    all_items: Sequence[dict[str, Any]] = [*_decode(stored.input_items), *_decode(stored.body)["output"]]
    return {item["id"]: item for item in all_items}


def _unknown(ident: str) -> Refusal:
    return Refusal(404, f"Response with id '{ident[:80]}' not found.")
