"""Items of the input: each in the one form in which it is kept, listed and read again. Pure.

An item is a plain object, as OpenAI's lists have it. Its id begins with what it is and holds the id of the answer it
belongs to, so that a reference to it can be followed without an index.
"""

import re
from collections.abc import Callable
from typing import Any

from dormouse_router.dialects.openai.responses.requests import Item, Part, bad_value, missing

Kept = dict[str, Any]
ROLES = ("user", "assistant", "system", "developer")
_ID_CHARS = 32
_BELONGS = re.compile(rf"^[a-z]{{2,4}}_([0-9a-f]{{{_ID_CHARS}}})[0-9a-f]+$")
_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}


class Ids:
    """The ids of one answer's items."""

    def __init__(self, response_id: str) -> None:
        self._stem = response_id.removeprefix("resp_")
        self._count = 0

    def next(self, kind: str) -> str:
        """For another item of type `kind`."""
        self._count += 1
        return f"{_PREFIXES[kind]}_{self._stem}{self._count:02x}"


def response_of(item_id: str) -> str | None:
    """The answer that an item of ours belongs to."""
    found = _BELONGS.match(item_id)
    return f"resp_{found[1]}" if found else None


def is_reference(item: Item) -> bool:
    """Whether it stands for an item that is kept."""
    return item.type == "item_reference" or (item.type is None and item.role is None and item.id is not None)


def kept_form(item: Item, where: str, ids: Ids) -> Kept:
    """`item` as it is kept. Refusal 400 that names what is missing, or cannot be passed on."""
    kind = item.type or "message"
    make = _KINDS.get(kind)
    if make is None:
        raise bad_value(f"{where}.type", f"'{kind[:40]}' items are not taken here: send {', '.join(_KINDS)}")
    return {"id": item.id or ids.next(kind), "type": kind} | make(item, where)


def text_message(text: str, ids: Ids) -> Kept:
    """What a string of input is short for."""
    content = [{"type": "input_text", "text": text}]
    return {"id": ids.next("message"), "type": "message", "role": "user", "status": "completed", "content": content}


def _message(item: Item, where: str) -> Kept:
    if item.role is None:
        raise missing(f"{where}.role")
    if item.role not in ROLES:
        raise bad_value(f"{where}.role", f"send one of {', '.join(ROLES)}, not '{item.role[:40]}'")
    if item.content is None:
        raise missing(f"{where}.content")
    form = _said if item.role == "assistant" else _given
    content = _parts(item.content, f"{where}.content", form)
    return {"role": item.role, "status": item.status or "completed", "content": content}


def _function_call(item: Item, where: str) -> Kept:
    for field in ("call_id", "name", "arguments"):
        if getattr(item, field) is None:
            raise missing(f"{where}.{field}")
    status = item.status or "completed"
    return {"call_id": item.call_id, "name": item.name, "arguments": item.arguments, "status": status}


def _function_call_output(item: Item, where: str) -> Kept:
    if item.call_id is None:
        raise missing(f"{where}.call_id")
    if item.output is None:
        raise missing(f"{where}.output")
    output = item.output if isinstance(item.output, str) else _parts(item.output, f"{where}.output", _given)
    return {"call_id": item.call_id, "output": output, "status": item.status or "completed"}


def _reasoning(item: Item, where: str) -> Kept:
    summary = [{"type": "summary_text", "text": part.text or ""} for part in item.summary or ()]
    given = item.content if isinstance(item.content, list) else []
    content = [{"type": "reasoning_text", "text": part.text or ""} for part in given]
    return {"summary": summary, "content": content, "encrypted_content": item.encrypted_content}


_KINDS: dict[str, Callable[[Item, str], Kept]] = {
    "message": _message,
    "function_call": _function_call,
    "function_call_output": _function_call_output,
    "reasoning": _reasoning,
}


def _parts(content: str | list[Part], where: str, form: Callable[[Part, str], Kept]) -> list[Kept]:
    if isinstance(content, str):
        return [form(Part("text", text=content), where)]
    return [form(part, f"{where}[{index}]") for index, part in enumerate(content)]


def _given(part: Part, where: str) -> Kept:
    """A part of what the model is told."""
    if part.type in ("input_text", "output_text", "text"):
        return {"type": "input_text", "text": _text(part, where)}
    if part.type == "input_image":
        return {"type": "input_image", "image_url": _image(part, where), "detail": part.detail or "auto"}
    raise bad_value(f"{where}.type", f"'{part.type[:40]}' parts are not taken here: send input_text or input_image")


def _said(part: Part, where: str) -> Kept:
    """A part of what the model has said."""
    if part.type == "refusal":
        return {"type": "refusal", "refusal": part.refusal or ""}
    if part.type not in ("output_text", "input_text", "text"):
        raise bad_value(f"{where}.type", f"'{part.type[:40]}' parts are not taken here: send output_text or refusal")
    return {"type": "output_text", "text": _text(part, where), "annotations": [], "logprobs": []}


def _text(part: Part, where: str) -> str:
    if part.text is None:
        raise missing(f"{where}.text")
    return part.text


def _image(part: Part, where: str) -> str:
    """The image's address: a data URI, or an address on the web that the engine fetches."""
    if part.image_url is None:
        raise bad_value(where, "files are not kept here: send the image as image_url, a data: URI or a web address")
    if not part.image_url.startswith(("data:image/", "https://", "http://")):
        raise bad_value(f"{where}.image_url", "send a data:image/...;base64, URI or an http(s) address")
    return part.image_url
