"""Ollama's messages as OpenAI's: images become parts, tool arguments strings, and tool results find their call."""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from dormouse_router.dialects.ollama.errors import bad_request
from dormouse_router.dialects.ollama.requests import Message, ToolCall

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"BM", "image/bmp"),
)
OpenAIMessage = dict[str, Any]


def to_openai(messages: Iterable[Message]) -> list[OpenAIMessage]:
    """The conversation for the engine. Calls without an id get one, and the results after them are matched to it."""
    out: list[OpenAIMessage] = []
    open_calls: list[tuple[str, str]] = []  # (id, function name), oldest first
    for number, message in enumerate(messages):
        role = "system" if message.role.lower() == "developer" else message.role.lower()
        if role not in _ROLES:
            raise bad_request(f'invalid role "{message.role}": must be one of system, user, assistant or tool')
        turn: OpenAIMessage = {"role": role, "content": content_of(message.content, message.images)}
        if role == "assistant":
            if message.thinking:
                turn["reasoning"] = message.thinking
            if message.tool_calls:
                turn["tool_calls"] = [_call(call, number, i) for i, call in enumerate(message.tool_calls)]
                open_calls += [(call["id"], call["function"]["name"]) for call in turn["tool_calls"]]
        if role == "tool":
            turn["tool_call_id"] = _answered(message, open_calls, number)
            if message.tool_name:
                turn["name"] = message.tool_name
        out.append(turn)
    return out


def _call(call: ToolCall, message: int, index: int) -> dict[str, Any]:
    arguments = call.function.arguments
    text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()
    return {
        "id": call.id or f"call_{message:04d}{index:04d}",
        "type": "function",
        "function": {"name": call.function.name, "arguments": text},
    }


def _answered(message: Message, open_calls: list[tuple[str, str]], number: int) -> str:
    """The id of the call that `message` answers, taken out of `open_calls`: by id, else by name, else the oldest."""
    ways = (
        lambda call: call[0] == message.tool_call_id,
        lambda call: not message.tool_call_id and call[1] == message.tool_name,
        lambda _call: not message.tool_call_id and not message.tool_name,
    )
    for way in ways:
        if found := next((call for call in open_calls if way(call)), None):
            open_calls.remove(found)
            return found[0]
    return message.tool_call_id or f"call_{number:08d}"


def content_of(content: str | list[dict[str, Any]] | None, images: list[str] | None) -> str | list[dict[str, Any]]:
    """A message's content for the engine: a string, or parts where there are images."""
    parts = [_part(part) for part in content] if isinstance(content, list) else []
    if not parts and not images:
        return content if isinstance(content, str) else ""
    if isinstance(content, str) and content:
        parts = [{"type": "text", "text": content}]
    parts += [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in images or ()]
    if all(part["type"] == "text" for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: dict[str, Any]) -> dict[str, Any]:
    """One OpenAI content part, checked: text, or an image given as data (nothing is fetched from elsewhere)."""
    kind, image = part.get("type"), part.get("image_url")
    if kind in ("text", "input_text") and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    url = image.get("url") if isinstance(image, dict) else image
    if kind == "image_url" and isinstance(url, str) and url.startswith("data:"):
        return {"type": "image_url", "image_url": {"url": data_uri(url)}}
    raise bad_request("content parts must be of type text, or image_url with a data: URI; send images as base64 data")


def data_uri(image: str) -> str:
    """The image as a data URI whose type is read from its first bytes, whatever the client called it."""
    encoded = image.partition(",")[2] if image.startswith("data:") else image
    try:
        head = base64.b64decode(encoded[:64], validate=True)
        if len(encoded) % 4:
            raise binascii.Error("Incorrect padding")
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"illegal base64 data in image: {error}") from error
    return f"data:{_mime(head)};base64,{encoded}"


def _mime(head: bytes) -> str:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for magic, mime in _MAGIC if head.startswith(magic)), "image/png")


def has_images(messages: Iterable[Message]) -> bool:
    """Whether any message carries an image, in either form."""
    return any(
        message.images
        or (isinstance(message.content, list) and any(part.get("type") == "image_url" for part in message.content))
        for message in messages
    )
