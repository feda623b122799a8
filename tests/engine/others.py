"""What an engine has beside text: the ranks of pooling models, pictures, sounds. Known answers, as vLLM shapes them."""

import base64
import hashlib
import re
import struct
import time
import zlib
from typing import Any

from tests.engine import words
from tests.engine.plan import BadRequestError
from tests.engine.wire import Reply, Request

RANKS = ("/rerank", "/v1/rerank", "/v2/rerank", "/score", "/v1/score")
FORMS = (
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/images/edits",
    "/v1/images/variations",
)
"""Whose bodies are forms, for a file is among their fields."""
MEDIA = ("/v1/images/generations", "/v1/audio/speech", *FORMS)
MOST_PICTURES = 10
_FIELD = re.compile(rb'name="([^"]*)"')


def form(request: Request) -> dict[str, Any]:
    """The fields of a multipart form: text, or bytes where the field is a file. BadRequestError on anything else."""
    found = re.search(r'boundary="?([^";]+)', request.headers.get("content-type", ""))
    if found is None:
        raise BadRequestError("the body must be a form (multipart/form-data)")
    fields: dict[str, Any] = {}
    for part in request.body.split(b"--" + found[1].encode())[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _FIELD.search(head)
        if name is None:
            raise BadRequestError("a part of the form has no name")
        value = value.removesuffix(b"\r\n")
        fields[name[1].decode()] = value if b"filename=" in head else value.decode()
    return fields


async def answer(path: str, body: dict[str, Any], model: str, reply: Reply) -> None:
    """Answer on one of RANKS or MEDIA. KeyError where a field is missing."""
    match path.rsplit("/", 1)[-1]:
        case "rerank":
            await reply.send(200, rerank(body, model))
        case "score":
            await reply.send(200, score(body, model))
        case "speech":
            await reply.send(200, sound(body["input"]), "audio/wav")
        case "transcriptions" | "translations":
            await _heard(body, reply)
        case _:
            count = int(body.get("n") or 1)
            if count > MOST_PICTURES:
                raise BadRequestError(f"n must be at most {MOST_PICTURES}, got {count}")
            drawn = [{"b64_json": picture(f"{body.get('prompt')} {index}")} for index in range(count)]
            await reply.send(200, {"created": int(time.time()), "data": drawn})


def rerank(body: dict[str, Any], model: str) -> dict[str, Any]:
    """The documents, best first: those that have the most words of the query."""
    texts = [text if isinstance(text, str) else text["text"] for text in body["documents"]]
    ranked = sorted(enumerate(texts), key=lambda pair: -words.likeness(body["query"], pair[1]))
    results = [
        {"index": index, "document": {"text": text}, "relevance_score": words.likeness(body["query"], text)}
        for index, text in ranked[: body.get("top_n") or None]
    ]
    count = sum(len(words.tokens(text)) for text in texts)
    return {"id": "rerank-1", "model": model, "usage": {"total_tokens": count}, "results": results}


def score(body: dict[str, Any], model: str) -> dict[str, Any]:
    """Each of the second texts, measured by the first."""
    first, second = body["text_1"], body["text_2"]
    others = [second] if isinstance(second, str) else second
    ones = [first] * len(others) if isinstance(first, str) else first
    data = [
        {"index": index, "object": "score", "score": words.likeness(one, other)}
        for index, (one, other) in enumerate(zip(ones, others, strict=True))
    ]
    count = sum(len(words.tokens(text)) for text in (*ones, *others))
    usage = {"prompt_tokens": count, "total_tokens": count}
    top = {"id": "score-1", "object": "list", "created": int(time.time()), "model": model}
    return {**top, "data": data, "usage": usage}


async def _heard(body: dict[str, Any], reply: Reply) -> None:
    text = f"I heard {len(body['file'])} bytes."
    match body.get("response_format", "json"):
        case "text":
            await reply.send(200, text, "text/plain")
        case "verbose_json":
            await reply.send(200, {"text": text, "language": body.get("language", "en"), "duration": 1.0})
        case _:
            await reply.send(200, {"text": text, "usage": {"type": "duration", "seconds": 1}})


def picture(prompt: str) -> str:
    """A PNG of one pixel in base64, coloured by the prompt."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    colour = hashlib.sha256(prompt.encode()).digest()[:3]
    size = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0" + colour)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()


def sound(text: str) -> bytes:
    """A WAV of 8 kHz: a byte of silence per character."""
    data = b"\x80" * len(text)
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8)
    body = form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body
