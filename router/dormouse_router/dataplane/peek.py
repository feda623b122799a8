"""What the router needs to know of a body, read in one pass, and the one change it ever makes to one.

Owns the check that a body is worth waking a model for: JSON, the required fields, the types of the fields
OpenAI documents. Unknown fields pass, and an explicit null is as good as nothing. Knows nothing of HTTP.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

Number = int | float
Whole = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What engines can hold: a larger one would wake a model only to be refused."""


class BadBody(ValueError):  # noqa: N818 - the caller's fault, not ours
    """The body is not what the endpoint takes. `code` and `param` are OpenAI's words."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


class StreamOptions(Struct):
    include_usage: bool | None = None


class Common(Struct):
    """Fields of every call for text; all optional but the model."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Whole | None = None
    n: Whole | None = None
    temperature: Number | None = None
    top_p: Number | None = None
    seed: Whole | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    stop: str | list[str] | None = None
    user: str | None = None
    prompt_cache_key: str | None = None
    logit_bias: dict[str, Number] | None = None


class Message(Struct):
    role: str
    content: Raw = Raw()


class Tool(Struct):
    type: str


class Chat(Common, kw_only=True):
    messages: list[Message]
    max_completion_tokens: Whole | None = None
    logprobs: bool | None = None
    top_logprobs: Whole | None = None
    parallel_tool_calls: bool | None = None
    tools: list[Tool] | None = None


class Completion(Common, kw_only=True):
    prompt: str | list[str | int | list[int]] | None = None
    echo: bool | None = None
    logprobs: Whole | None = None


class Embedding(Struct):
    model: str
    input: Raw
    dimensions: Whole | None = None
    encoding_format: str | None = None


class Named(Struct):
    model: str


@dataclass(slots=True)
class Peek:
    """`model` as the caller wrote it. `session`: whose calls should meet, if the body says so (prompt_cache_key)."""

    model: str
    stream: bool = False
    session: bytes = b""


SESSION_CHARS = 256
"""Of a prompt_cache_key: what comes later tells no two sessions apart."""
_chat = msgspec.json.Decoder(Chat)
_completion = msgspec.json.Decoder(Completion)
_embedding = msgspec.json.Decoder(Embedding)


def chat(body: bytes) -> Peek:
    """A body for /v1/chat/completions. Raises BadBody."""
    seen: Chat = decode(_chat, body)
    if not seen.messages:
        raise BadBody("Invalid 'messages': send at least one message.", "invalid_value", "messages")
    for index, message in enumerate(seen.messages):
        if bytes(memoryview(message.content)[:1]) not in _CONTENT_STARTS:
            where = f"messages[{index}].content"
            raise BadBody(f"Invalid type for '{where}': send a string or a list of parts.", "invalid_type", where)
    return _peek(seen)


_CONTENT_STARTS = (b'"', b"[", b"n", b"")


def completion(body: bytes) -> Peek:
    """A body for /v1/completions. Raises BadBody."""
    seen: Completion = decode(_completion, body)
    if seen.prompt is None:
        raise _missing("prompt")
    return _peek(seen)


def embedding(body: bytes) -> Peek:
    """A body for /v1/embeddings. Raises BadBody."""
    seen: Embedding = decode(_embedding, body)
    if bytes(memoryview(seen.input)[:1]) not in (b'"', b"["):
        raise BadBody("Invalid type for 'input': send a string or a list.", "invalid_type", "input")
    return Peek(_model(seen.model))


def _peek(seen: Common) -> Peek:
    if seen.stream_options is not None and not seen.stream:
        text = "Invalid 'stream_options': it is only allowed together with \"stream\": true."
        raise BadBody(text, "invalid_value", "stream_options")
    key = seen.prompt_cache_key
    return Peek(_model(seen.model), bool(seen.stream), key[:SESSION_CHARS].encode() if key else b"")


def _model(name: str) -> str:
    if not name:
        raise BadBody("Invalid 'model': name the model to call.", "invalid_value", "model")
    return name


def decode(decoder: Any, body: bytes) -> Any:
    """What `decoder`, of msgspec, makes of a body of OpenAI's. Raises BadBody, in OpenAI's words."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        hint = "the body is empty" if not body.strip() else str(error)
        raise BadBody(f"Could not parse the JSON body of the request: {hint}. Send one JSON object.") from None
    except RecursionError:
        raise BadBody("Could not parse the JSON body of the request: it is nested too deeply.") from None


_REQUIRED = re.compile(r"missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_AT = re.compile(r" - at `\$\.?([^`]*)`$")


def _invalid(text: str) -> BadBody:
    """msgspec's sentence in OpenAI's words: which parameter, and whether it is missing or of the wrong type."""
    missing = _REQUIRED.search(text)
    if missing:
        return _missing(f"{missing[2]}.{missing[1]}" if missing[2] else missing[1])
    at = _AT.search(text)
    param = at[1] if at and at[1] else None
    reason = (_AT.sub("", text) if at else text).replace("`", "'")
    where = f"'{param}'" if param else "the body"
    what = "value" if "<=" in reason or ">=" in reason else "type"
    return BadBody(f"Invalid {what} for {where}: {reason[:1].lower()}{reason[1:]}.", f"invalid_{what}", param)


def _missing(param: str) -> BadBody:
    return BadBody(f"Missing required parameter: '{param}'.", "missing_required_parameter", param)


# ------------------------------------------------------------------ the model's name

_TOKEN = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"|[{}\[\]:]', re.DOTALL)


def splice_model(body: bytes, name: str) -> bytes:
    """`body` with its top-level model named `name`; every other byte stays. `body` is JSON with a string `model`."""
    spans = _model_spans(body)
    encoded = msgspec.json.encode(name)
    parts: list[bytes] = []
    end = 0
    for start, stop in spans:
        parts += [body[end:start], encoded]
        end = stop
    return b"".join([*parts, body[end:]])


def _model_spans(body: bytes) -> list[tuple[int, int]]:
    """Where the values of the top-level key "model" stand. More than one where the key is repeated: parsers take the
    last, and all are given, so that no reader of the body can see another name."""
    spans: list[tuple[int, int]] = []
    depth = 0
    key: tuple[int, int] | None = None  # the last string seen at depth 1
    value_next = False  # a colon followed the key "model"
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first == 0x22:
            if depth == 1 and value_next:
                spans.append(token.span())
                value_next = False
            elif depth == 1:
                key = token.span()
        elif first == 0x3A:
            value_next = depth == 1 and key is not None and _is_model(body[key[0] : key[1]])
            key = None
        else:
            depth += 1 if first in b"{[" else -1
            value_next = False
    return spans


def _is_model(quoted: bytes) -> bool:
    if quoted == b'"model"':
        return True
    return b"\\" in quoted and msgspec.json.decode(quoted) == "model"
