"""The worker's own port: /metrics, /livez and /readyz."""

import socket

from dormouse_router.asgi import AsgiTurn, Receive, Scope, Send
from dormouse_router.listener import Listener
from dormouse_router.worker.crew import Crew

STOP_SECONDS = 1.0
TIMEOUT = 60.0


class Ops:
    """A small ASGI application and its listener. `port` says where it listens."""

    def __init__(self, crew: Crew, address: tuple[str, int] | socket.socket) -> None:
        self._crew = crew
        self._listener = Listener(
            lambda connection: AsgiTurn(connection, self),
            address,
            body_timeout=TIMEOUT,
            write_timeout=TIMEOUT,
        )
        self.port = self._listener.port

    async def start(self) -> None:
        await self._listener.start()

    async def stop(self) -> None:
        await self._listener.stop(STOP_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, content_type, body = self._answer(scope["path"])
        headers = [(b"content-type", content_type.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/livez":
            return 200, "text/plain", b"ok\n"
        if path == "/readyz":
            why = self._crew.trouble()
            return (200, "text/plain", b"ok\n") if why is None else (503, "text/plain", f"{why}\n".encode())
        if path == "/metrics":
            body, content_type = self._crew.metrics.exposition()
            return 200, content_type, body
        return 404, "text/plain", b"there is /metrics, /livez and /readyz\n"
