"""Requests as clients write them, and what becomes of them on the way to the engine."""

import json
from typing import Any

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.openai.responses.items import Ids, kept_form, text_message
from dormouse_router.dialects.openai.responses.requests import CreateRequest, read
from dormouse_router.dialects.openai.responses.translate import response_plan
from tests.router.dialects.openai.responses.events import IDENT
from tests.router.dialects.records import with_capabilities

CAPABLE = with_capabilities("completion", "tools", "vision", "thinking")
PLAIN = with_capabilities("completion")
HI = {"role": "user", "content": "hi"}
PNG = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
WEATHER = {"type": "function", "name": "weather", "description": "Tells it", "parameters": SCHEMA, "strict": True}
WEATHER_SENT = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it", "parameters": SCHEMA, "strict": True},
}
TIME = {"type": "function", "name": "time"}
TIME_SENT = {"type": "function", "function": {"name": "time"}}
CALL = {"type": "function_call", "call_id": "c", "name": "weather", "arguments": '{"c": "süß"}'}
CALL_SENT = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": '{"c": "süß"}'}}
RESULT = {"type": "function_call_output", "call_id": "c", "output": "sunny"}
RESULT_SENT = {"role": "tool", "tool_call_id": "c", "content": "sunny"}


def wish(given: Any = "hi", **fields: Any) -> CreateRequest:
    body = {"model": "tiny", "input": given, **fields}
    return read(json.dumps(body, ensure_ascii=False).encode(), CreateRequest)


def sent(given: Any = "hi", served: Record = CAPABLE, *, streamed: bool = False, **fields: Any) -> dict[str, Any]:
    """What the engine gets for a request."""
    request, ids = wish(given, **fields), Ids(IDENT)
    if isinstance(request.input, str):
        items = [text_message(request.input, ids)]
    else:
        items = [kept_form(item, f"input[{number}]", ids) for number, item in enumerate(request.input or ())]
    found: dict[str, Any] = json.loads(response_plan(request, items, served, stream=streamed).payload)
    return found
