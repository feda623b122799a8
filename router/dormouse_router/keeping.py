"""What is kept between requests, as dialects see it: answers, sessions, files, batches, predictions.

Types and protocols only; `store` fulfils them, in memory, in a database or in Redis. Where it cannot (the database is
away), its methods raise Refusal 503, which each dialect words itself.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dormouse_router.accounting.entries import Usage
from dormouse_router.accounts import Accounts
from dormouse_router.batching import Batches, Work
from dormouse_router.caller import current
from dormouse_router.filing import Files, Uploads
from dormouse_router.notifying import Event, Webhooks
from dormouse_router.predicting import Predictions
from dormouse_router.request import Request

Message = dict[str, Any]
"""One message of a chat, as OpenAI has it."""
MAX_CHAIN = 1000
"""Most answers that `Responses.chain` follows."""
_BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One answer. Times are seconds since the epoch."""

    id: str
    owner: str
    """`request_owner` of the request that made it: nobody else sees it."""
    previous_id: str | None
    created_at: float
    body: bytes
    """The response object, JSON."""
    input_items: bytes
    """What was sent for it: a JSON list."""
    expires_at: float | None = None
    """From then on it is as if it were not there. None: never."""


class Responses(Protocol):
    """Answers that were asked to be kept."""

    async def put(self, response: StoredResponse, event: Event | None = None) -> None:
        """Insert it, or replace its owner's one with its id; and announce `event`: both or nothing."""
        ...

    async def get(self, id: str, owner: str) -> StoredResponse | None:  # noqa: A002 - as the API calls it
        ...

    async def delete(self, id: str, owner: str) -> bool:  # noqa: A002
        """Whether it was there."""
        ...

    async def chain(self, id: str, owner: str) -> list[StoredResponse] | None:  # noqa: A002
        """The answer and those it follows, oldest first; None where one of them is missing, or beyond MAX_CHAIN."""
        ...


class Sessions(Protocol):
    """Histories of chats. A system message is kept apart from the others: it stays while they are trimmed."""

    async def history(self, owner: str, session: str) -> list[Message]:
        """The system message, where there is one, then the others, oldest first; [] where nothing is kept."""
        ...

    async def append(self, owner: str, session: str, messages: list[Message], keep: int, ttl: float) -> None:
        """Add one turn, whole and behind the others, and keep the last `keep` messages for `ttl` seconds from now.

        A system message replaces the one before it. Turns of two routers at once are both kept.
        """
        ...

    async def delete(self, owner: str, session: str) -> bool:
        """Whether it was there."""
        ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """All that is kept."""

    responses: Responses
    sessions: Sessions
    files: Files
    uploads: Uploads
    predictions: Predictions
    webhooks: Webhooks
    batches: Batches
    work: Work | None
    """Of those batches; None where no worker can see them, because nothing is kept beyond this process."""
    accounts: Accounts
    usage: Usage
    trouble: Callable[[], str | None] = lambda: None
    """Why nothing can be kept now, in a sentence for whoever operates the router; None where all is well."""


def request_owner(request: Request) -> str:
    """Whose is what the request keeps: its caller's, or in mode `open` a hash of its credential, "" without one."""
    caller = current()
    if caller is not None:
        return caller.owner
    return credential_owner(_text(request.header(b"authorization")), _text(request.header(b"x-api-key")))


def headers_owner(headers: Mapping[str, str]) -> str:
    """`request_owner`, for what FastAPI serves."""
    caller = current()
    if caller is not None:
        return caller.owner
    return credential_owner(headers.get("authorization", ""), headers.get("x-api-key", ""))


def _text(value: bytes | None) -> str:
    return (value or b"").decode("latin-1")


def credential_owner(authorization: str, api_key: str) -> str:
    """Whose that is which nobody has a name for: what is kept by the hash stays theirs who send the same again."""
    bearer = authorization[len(_BEARER) :] if authorization[: len(_BEARER)].lower() == _BEARER else ""
    credential = bearer.strip() or api_key.strip()
    return hashlib.sha256(credential.encode("latin-1")).hexdigest() if credential else ""
