"""Anthropic's conversation as OpenAI's: blocks become parts, calls and results, and the system prompt a message. Pure.

Anthropic combines turns that follow each other with the same role, so they are combined here: many chat templates take
roles in turns only.
"""

import base64
import binascii
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from typing import Any

from dormouse_router.dialects.anthropic.errors import bad_request
from dormouse_router.dialects.anthropic.requests import Block, Turn

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_BILLING = "x-anthropic-billing-header"
"""Begins a system block in which one client sends a new hash with every request: it says nothing to a model, and no
prefix of the prompt would ever be found in the engine's cache."""
_USER_BLOCKS = "text, image, document (as text), search_result, tool_result"
_ASSISTANT_BLOCKS = "text, thinking, redacted_thinking, tool_use"
Message = dict[str, Any]
Part = dict[str, Any]
Placed = tuple[Block, str]
"""A block, and where it stands in the request."""


def to_openai(system: str | list[Block] | None, turns: list[Turn]) -> list[Message]:
    """The messages for the engine. Refusal 400 that names the block which cannot be passed on."""
    said = _system(_blocks(system, "system"))
    placed: list[tuple[str, list[Placed]]] = []
    for number, turn in enumerate(turns):
        blocks = _blocks(turn.content, f"messages.{number}.content")
        if turn.role == "system":
            said += _system(blocks)  # many templates take a system message at the beginning only
        elif turn.role in ("user", "assistant"):
            placed.append((turn.role, blocks))
        else:
            raise bad_request(f"messages.{number}.role: must be 'user' or 'assistant', not '{turn.role[:40]}'")
    messages: list[Message] = [{"role": "system", "content": "\n\n".join(said)}] if said else []
    for role, group in groupby(placed, key=itemgetter(0)):
        blocks = [block for _, some in group for block in some]
        messages += _user(blocks) if role == "user" else [_assistant(blocks)]
    return messages


def _blocks(content: str | list[Block] | None, where: str) -> list[Placed]:
    if isinstance(content, str):
        return [(Block("text", text=content), where)]
    return [(block, f"{where}.{index}") for index, block in enumerate(content or ())]


def _system(blocks: Iterable[Placed]) -> list[str]:
    return [text for block, where in blocks if (text := _system_text(block, where))]


def _system_text(block: Block, where: str) -> str:
    if block.type != "text":
        raise _unknown(block, where, "text")
    text = _text(block, where)
    return "" if text.startswith(_BILLING) else text


def _user(blocks: Iterable[Placed]) -> list[Message]:
    """The results of tools first, as templates want them right behind their calls, then what the user says.

    A tool's message holds text only: images that a tool gave come first in the user's message behind it.
    """
    results: list[Message] = []
    shown: list[Part] = []
    said: list[Part] = []
    for block, where in blocks:
        if block.type == "tool_result":
            message, images = _result(block, where)
            results.append(message)
            shown += images
        else:
            said.append(_part(block, where))
    parts = shown + said
    return [*results, {"role": "user", "content": _content(parts)}] if parts or not results else results


def _result(block: Block, where: str) -> tuple[Message, list[Part]]:
    if not block.tool_use_id:
        raise bad_request(f"{where}.tool_use_id: Field required")
    parts = [_part(inner, place) for inner, place in _blocks(block.content, f"{where}.content")]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.is_error:
        text = f"Error: {text}"  # the engine's messages have no other way to say so
    images = [part for part in parts if part["type"] != "text"]
    return {"role": "tool", "tool_call_id": block.tool_use_id, "content": text}, images


def _content(parts: list[Part]) -> str | list[Part]:
    """A string where there is nothing but text: not every template takes parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _assistant(blocks: Iterable[Placed]) -> Message:
    text, thoughts, calls = "", "", []
    for block, where in blocks:
        if block.type == "text":
            text += _text(block, where)
        elif block.type == "thinking":
            thoughts += block.thinking or ""
        elif block.type == "tool_use":
            calls.append(_call(block, where))
        elif block.type != "redacted_thinking":  # nobody but Anthropic can read those
            raise _unknown(block, where, _ASSISTANT_BLOCKS)
    message: Message = {"role": "assistant", "content": text}
    if thoughts:
        message["reasoning"] = thoughts
    if calls:
        message["tool_calls"] = calls
    return message


def _call(block: Block, where: str) -> dict[str, Any]:
    if not block.id or not block.name:
        raise bad_request(f"{where}.{'name' if block.id else 'id'}: Field required")
    given = bytes(block.input) or b"{}"
    if not given.startswith(b"{"):
        raise bad_request(f"{where}.input: Input should be an object")
    try:
        arguments = given.decode()
    except UnicodeDecodeError as error:
        raise bad_request(f"{where}.input: {error}") from error
    return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": arguments}}


def _part(block: Block, where: str) -> Part:
    if block.type == "text":
        return {"type": "text", "text": _text(block, where)}
    if block.type == "image":
        return {"type": "image_url", "image_url": {"url": _image(block.source, where)}}
    if block.type == "document":
        return {"type": "text", "text": _titled(block, _document(block.source, where))}
    if block.type == "search_result":
        found = [_text(inner, place) for inner, place in _blocks(block.content, f"{where}.content")]
        source = block.source if isinstance(block.source, str) else ""
        return {"type": "text", "text": _titled(block, "\n".join([source, *found]))}
    raise _unknown(block, where, _USER_BLOCKS)


def _text(block: Block, where: str) -> str:
    if block.text is None:
        raise bad_request(f"{where}.text: Field required")
    return block.text


def _titled(block: Block, text: str) -> str:
    return f"{block.title}\n{text}" if block.title else text


def _image(source: dict[str, Any] | str | None, where: str) -> str:
    """The image's address: a data URI, or an address on the web that the engine fetches."""
    given = source if isinstance(source, dict) else {}
    kind, url, data = given.get("type"), given.get("url"), given.get("data")
    if kind == "url" and isinstance(url, str) and url.startswith(("https://", "http://")):
        return url
    if kind != "base64" or not isinstance(data, str):
        raise bad_request(f"{where}.source: send an image as base64 with media_type and data, or as url with http(s)")
    media = given.get("media_type")
    if media not in _IMAGES:
        raise bad_request(f"{where}.source.media_type: must be one of {', '.join(_IMAGES)}")
    try:
        base64.b64decode(data[:64], validate=True)  # the rest is the engine's to read
        if len(data) % 4 or not data:
            raise binascii.Error("incorrect length")
    except ValueError as error:
        raise bad_request(f"{where}.source.data: not base64: {error}") from error
    return f"data:{media};base64,{data}"


def _document(source: dict[str, Any] | str | None, where: str) -> str:
    """The text of a document; pages of a PDF are not read here."""
    given = source if isinstance(source, dict) else {}
    kind, data, content = given.get("type"), given.get("data"), given.get("content")
    if kind == "text" and isinstance(data, str):
        return data
    if kind == "content" and isinstance(content, str):
        return content
    if kind == "content" and isinstance(content, list):
        texts = [part.get("text") if isinstance(part, dict) else None for part in content]
        if all(isinstance(text, str) for text in texts):
            return "\n".join(text for text in texts if isinstance(text, str))
    raise bad_request(f"{where}.source: only documents of plain text are taken: send its text, or its pages as images")


def _unknown(block: Block, where: str, known: str) -> Exception:
    return bad_request(f"{where}.type: '{block.type[:40]}' blocks are not taken here: send {known}")


def has_images(messages: Iterable[Message]) -> bool:
    """Whether any of the engine's messages shows an image."""
    return any(
        part["type"] == "image_url"
        for message in messages
        if isinstance(message["content"], list)
        for part in message["content"]
    )
