"""The requests and answers of the bench, the same for every proxy."""

import json
import re

MODEL = "bench"
STREAM_CHUNKS = 100
STREAM_INTERVAL = 0.03
"""33 chunks a second and stream: the pace of a fast model."""
STREAMS = 1000
KEY = "dm-bench-0123456789abcdefghijklmnopqrstuvwxyz"
"""Whoever asks nobody passes it over."""
LARGE = 220_000
"""Bytes of a long prompt."""


def chat(size: int, *, stream: bool = False) -> bytes:
    """A chat whose body has about `size` bytes. OpenAI, Ollama and Anthropic all take it."""
    words = "The quick brown fox jumps over the lazy dog. " * (size // 45 + 1)
    fields: dict[str, object] = {"model": MODEL, "messages": [{"role": "user", "content": words[:size]}]}
    return json.dumps(fields | ({"stream": True, "max_tokens": 1000} if stream else {"temperature": 0.7})).encode()


def response(size: int) -> bytes:
    """The same streamed chat for OpenAI's Responses API; nothing is kept of it."""
    words = json.loads(chat(size))["messages"][0]["content"]
    return json.dumps({"model": MODEL, "input": words, "stream": True, "store": False}).encode()


SMALL_CHAT = chat(600)
LARGE_CHAT = chat(LARGE)
STREAM_CHAT = chat(600, stream=True)
STREAM_RESPONSE = response(600)


def answer() -> bytes:
    """A whole answer of about 0.9 kB, as an engine gives it."""
    message = {"role": "assistant", "content": "Paris is the capital of France. " * 16}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    usage = {"prompt_tokens": 120, "total_tokens": 220, "completion_tokens": 100}
    fields = {"id": "chatcmpl-" + "0" * 32, "object": "chat.completion", "created": 1, "model": MODEL}
    return json.dumps(fields | {"choices": [choice], "usage": usage}, separators=(",", ":")).encode()


def chunk(at: int, *, told: bool = False) -> bytes:
    """One event of a stream, about 180 bytes, written `at` (monotonic nanoseconds); `told`: with the usage so far.

    The time is the text of the chunk: the one place that survives a proxy which takes answers apart and writes its own.
    """
    return (
        b'data: {"id":"chatcmpl-00000000","object":"chat.completion.chunk","created":1,"model":"bench",'
        b'"choices":[{"index":0,"delta":{"content":"@%020d"},"finish_reason":null}]%b}\n\n'
    ) % (at, b',"usage":{"prompt_tokens":120,"total_tokens":170,"completion_tokens":50}' if told else b"")


WRITTEN = re.compile(rb'"(?:content|text|delta)": ?"@(\d{20})"')
"""The time in an event made by `chunk`, or in what a proxy made of it."""
WRITTEN_LENGTH = 40
"""No match of WRITTEN is longer."""
ENDS = (b"[DONE]", b'"done":true', b'"done": true', b'"type":"message_stop"', b'"type":"response.completed"')
"""What ends a stream: the last event of OpenAI's chats, Ollama's last line, Anthropic's last event, a response's."""
