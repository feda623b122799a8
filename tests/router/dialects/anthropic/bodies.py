"""Requests as clients write them, and what becomes of them on the way to the engine."""

import json
from typing import Any

from dormouse_router.catalog.record import Record
from dormouse_router.dialects.anthropic.requests import MessagesRequest, decode
from dormouse_router.dialects.anthropic.translate import Plan, message_plan
from tests.router.dialects.records import with_capabilities

CAPABLE = with_capabilities("completion", "tools", "vision", "thinking")
PLAIN = with_capabilities("completion")
HI = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgo="
PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
PICTURE_PART = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
WEATHER = {"name": "weather", "description": "Tells it", "input_schema": {"type": "object", "properties": {"c": {}}}}
WEATHER_SENT = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it", "parameters": WEATHER["input_schema"]},
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
STREAMED = {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"c": "süß"}}
CALL_SENT = {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"c": "süß"}'}}


def plan(served: Record = PLAIN, messages: Any = HI, **fields: Any) -> Plan:
    body = {"model": "tiny", "max_tokens": 9, "messages": messages, **fields}
    return message_plan(decode(json.dumps(body, ensure_ascii=False).encode(), MessagesRequest), served)


def sent(served: Record = PLAIN, messages: Any = HI, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan(served, messages, **fields).payload)
    return found


def said(messages: Any, served: Record = CAPABLE, **fields: Any) -> Any:
    return sent(served, messages, **fields)["messages"]
