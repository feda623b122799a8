"""Inputs of batches, for tests and for processes that must start quickly."""

import json

from dormouse_router.batch import answers

CHAT, OWNER = "/v1/chat/completions", "ann"


def line(number: int, model: str = "tiny", prompt: str = "hi") -> bytes:
    """One good line of an input."""
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    return json.dumps({"custom_id": f"r-{number}", "method": "POST", "url": CHAT, "body": body}).encode()


def lines(count: int, model: str = "tiny") -> bytes:
    return b"".join(line(number, model) + b"\n" for number in range(count))


def told(batch: str, number: int, custom_id: str, status: int = 200, body: bytes = b'{"said":true}') -> bytes:
    """The line of an answer."""
    named = json.dumps(custom_id).encode()
    return answers.answered(answers.request_id(batch, number), named, status, "req", body)
