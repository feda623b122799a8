"""ASGI middleware in front of vLLM's routes that load and unload adapters: only this pod's supervisor may call them.

They read any path that the engine can, so that whoever reaches the serving port could have it load what he likes.
Imports nothing of vLLM, which is told of it by name (`--middleware`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[..., Awaitable[Any]], Callable[..., Awaitable[None]]], Awaitable[None]]

CLOSED = ("/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/adapters")
"""The last one is the same under another name, with the adapter's name behind it for an unload."""
HERE = ("127.0.0.1", "::1")
REFUSAL = b'{"error":{"message":"adapters are loaded by the InferenceModel\'s spec.adapters only","code":404}}'


class LocalOnly:
    """Answers 404 to everybody else, as vLLM does without these routes."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(
        self, scope: Scope, receive: Callable[..., Awaitable[Any]], send: Callable[..., Awaitable[None]]
    ) -> None:
        if (
            scope["type"] == "http"
            and scope["path"].startswith(CLOSED)
            and (scope.get("client") or ("",))[0] not in HERE
        ):
            head = [(b"content-type", b"application/json"), (b"content-length", str(len(REFUSAL)).encode())]
            await send({"type": "http.response.start", "status": 404, "headers": head})
            await send({"type": "http.response.body", "body": REFUSAL})
            return
        await self._app(scope, receive, send)
