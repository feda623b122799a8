"""What engines stream, as vLLM writes it, and what a client reads of a stream."""

import json
from typing import Any

from tests.router.dialects.engines import USAGE
from tests.router.fakes import Exchange, Serve

TOP = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny-chat"}


def sse(*values: object) -> bytes:
    """Events, written as compactly as vLLM does."""
    texts = (json.dumps(value, separators=(",", ":"), ensure_ascii=False) for value in values)
    return b"".join(f"data: {text}\n\n".encode() for text in texts)


def delta(finish: str | None = None, index: int = 0, **said: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": said, "logprobs": None, "finish_reason": finish}
    return {**TOP, "choices": [choice]}


def tool(index: int, arguments: str, ident: str | None = None, name: str = "weather") -> dict[str, Any]:
    """A piece of a call; the first has id, type and name."""
    first: dict[str, Any] = {} if ident is None else {"id": ident, "type": "function"}
    function = {"arguments": arguments} if ident is None else {"name": name, "arguments": arguments}
    return delta(tool_calls=[{"index": index, **first, "function": function}])


LAST = {**TOP, "choices": [], "usage": USAGE}
DONE = b"data: [DONE]\n\n"


def saying(*pieces: bytes, end: bool = True) -> Serve:
    """An engine that streams these bytes, piece by piece; without an `end` it dies after them."""

    async def serve(exchange: Exchange) -> None:
        await exchange.stream_head()
        for piece in pieces:
            await exchange.chunk(piece)
        if end:
            await exchange.raw(b"0\r\n\r\n")
        else:
            exchange.cut()

    return serve


def chunks(text: str) -> list[dict[str, Any]]:
    """Every event of a client's stream but [DONE], which must be the last, unless it ended with an error."""
    datas = [line[6:] for line in text.split("\n") if line.startswith("data: ")]
    assert text.endswith("\n\n")
    if datas[-1] == "[DONE]":
        datas.pop()
    return [json.loads(data) for data in datas]
