"""What the engine that serves takes, where it tells: for the state, and so for the model's status."""

from __future__ import annotations

import json

from dormouse_api.runtime import schema_text
from dormouse_runtime.engines.base import Adapter
from dormouse_runtime.supervisor import http

SECONDS = 2.0


async def ask(adapter: Adapter, port: int, host: str) -> str | None:
    """The engine's input schema, as text; None where it has none that a status could hold."""
    if adapter.schema_path is None:
        return None
    answer = await http.get(port, adapter.schema_path, SECONDS, host)
    return read(answer.body) if answer is not None and answer.status == 200 else None


def read(body: bytes) -> str | None:
    """The schema in an engine's answer."""
    try:
        return schema_text(json.dumps(json.loads(body)["input"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
