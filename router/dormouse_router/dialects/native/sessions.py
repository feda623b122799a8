"""GET and DELETE /sessions/{id}: what is kept of a chat, for whoever sent it with the same key."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from dormouse_router.dialects.native.answers import answer, reads
from dormouse_router.keeping import Sessions, headers_owner
from dormouse_router.request import Refusal


class Histories:
    """The handlers."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    async def history(self, ident: str, request: Request) -> Response:
        """The messages kept of a session, oldest first, in OpenAI's form."""
        messages = await self._sessions.history(headers_owner(request.headers), ident)
        if not messages:
            raise _unknown(ident)
        return answer({"session_id": ident, "messages": messages})

    async def forget(self, ident: str, request: Request) -> Response:
        """Forget a session."""
        if not await self._sessions.delete(headers_owner(request.headers), ident):
            raise _unknown(ident)
        return answer({"session_id": ident, "deleted": True})

    def routes(self) -> APIRouter:
        router = APIRouter()
        reads(router, "/sessions/{ident:path}", self.history)
        router.add_api_route("/sessions/{ident:path}", self.forget, methods=["DELETE"], response_model=None)
        return router


def _unknown(ident: str) -> Refusal:
    shown = ident if len(ident) <= 200 else f"{ident[:200]}..."
    text = f'there is no session "{shown}": POST /chat with a session_id begins one, and an hour without a turn ends it'
    return Refusal(404, text)
