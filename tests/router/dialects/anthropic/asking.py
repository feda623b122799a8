"""What these tests send to /v1/messages, and how they read an answer."""

import json
from typing import Any

import httpx
from anthropic.types import MessageParam

from tests.router.dialects.engines import HI

URL = "/v1/messages"
COUNT = "/v1/messages/count_tokens"
BODY: dict[str, Any] = {"model": "tiny", "max_tokens": 50, "messages": HI}
STREAM = {**BODY, "stream": True}
QUESTION: MessageParam = {"role": "user", "content": "Capital of France?"}


def refused(answer: httpx.Response) -> tuple[int, str, str]:
    """Status, type and message, the envelope checked."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert list(body) == ["type", "error", "request_id"]
    assert (body["type"], list(body["error"])) == ("error", ["type", "message"])
    assert body["request_id"] == answer.headers["request-id"]
    return answer.status_code, body["error"]["type"], body["error"]["message"]


def events(answer: httpx.Response) -> list[Any]:
    """What a client reads of a stream: comments are skipped."""
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith("\n\n")
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


def in_band(answer: httpx.Response) -> tuple[str, str]:
    """Type and message of the error that ends a stream."""
    last = events(answer)[-1]
    assert last["type"] == "error"
    assert last["request_id"] == answer.headers["request-id"]
    return last["error"]["type"], last["error"]["message"]
