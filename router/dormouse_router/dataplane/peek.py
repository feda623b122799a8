"""What the router needs to know of a body, read in one pass, and the one change it ever makes to one.

Owns the check that a body is worth waking a model for: JSON, the required fields, the types of the fields
OpenAI documents. Unknown fields pass, and an explicit null is as good as nothing. Knows nothing of HTTP.
"""

import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from dormouse_router.dataplane import bodies


class BadBody(ValueError):  # noqa: N818 - the caller's fault, not ours
    """The body is not what the endpoint takes. `code` and `param` are OpenAI's words."""

    def __init__(self, message: str, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.param = code, param


class Named(Struct):
    model: str


@dataclass(slots=True)
class Peek:
    """`model` as the caller wrote it. `session`: whose calls should meet, if the body says so (prompt_cache_key)."""

    model: str
    stream: bool = False
    session: bytes = b""
    usage: bool = False
    """The stream shall tell its usage, once and at its end."""
    running: bool = False
    """The stream shall tell its usage in every event."""
    options: bool = False
    """It says something of `stream_options`, if only null."""
    hidden: bool = False
    """More usage was asked for than it wants to see."""
    forced: bool = False
    """The answer must be a call of one function that is named."""
    refit: bool = False
    """It says something in a way that engines do not know."""
    legacy: bool = False
    """It knows functions, not tools, and so must the answer."""
    keep_alive: bytes = b""
    """JSON; b"" where nothing is said."""


SESSION_CHARS = 256
"""Of a prompt_cache_key: what comes later tells no two sessions apart."""
MOST_INPUTS = 2048
_chat = msgspec.json.Decoder(bodies.Chat)
_completion = msgspec.json.Decoder(bodies.Completion)
_embedding = msgspec.json.Decoder(bodies.Embedding)
_choice = msgspec.json.Decoder(bodies.ToolChoice)
_extras = operator.attrgetter(*bodies.Extras.__struct_fields__)
_rare = operator.attrgetter("tools", "functions", "modalities", "top_logprobs", "tool_choice", "function_call", "echo")
_RARE = (None,) * 4 + (bodies.NO_RAW,) * 3
_NONE = (bodies.NO_RAW,) * len(bodies.Extras.__struct_fields__)


def chat(body: bytes) -> Peek:
    """A body for /v1/chat/completions. Raises BadBody."""
    seen: bodies.Chat = decode(_chat, body)
    if not seen.messages:
        raise BadBody("Invalid 'messages': send at least one message.", "invalid_value", "messages")
    for index, message in enumerate(seen.messages):
        if bytes(memoryview(message.content)[:1]) not in _CONTENT_STARTS:
            where = f"messages[{index}].content"
            raise BadBody(f"Invalid type for '{where}': send a string or a list of parts.", "invalid_type", where)
    found = _peek(seen)
    if _rare(seen) != _RARE:
        _rarer(seen, found)
    return found


def _rarer(seen: bodies.Chat, found: Peek) -> None:
    """What few calls say."""
    if seen.top_logprobs and not seen.logprobs:
        text = "Invalid 'top_logprobs': it is only allowed together with \"logprobs\": true."
        raise BadBody(text, "invalid_value", "top_logprobs")
    if seen.modalities is not None and set(seen.modalities) - {"text"}:
        text = "Invalid 'modalities': only [\"text\"] is answered here. For speech, POST /v1/audio/speech."
        raise BadBody(text, "unsupported_value", "modalities")
    found.refit |= seen.echo != bodies.NO_RAW
    _tools(seen, found)


_CONTENT_STARTS = (b'"', b"[", b"n", b"")
_WORDS = (b'"auto"', b'"none"', b'"required"', b"null", b"")


def _tools(seen: bodies.Chat, found: Peek) -> None:
    """Whether what is said of tools can be obeyed, and which of it engines do not know."""
    for index, tool in enumerate(seen.tools or ()):
        if tool.type != "function":
            text = f"Tools of type '{tool.type}' cannot be called here: declare a tool of type 'function'."
            raise BadBody(text, "unsupported_value", f"tools[{index}].type")
        if tool.function is None:
            raise _missing(f"tools[{index}].function")
    found.legacy = bool(seen.functions) and not seen.tools
    found.forced = found.legacy and bytes(seen.function_call)[:1] == b"{"
    found.refit |= (
        seen.echo != bodies.NO_RAW or seen.tools == [] or seen.functions is not None or _given(seen.function_call)
    )
    if not _given(seen.tool_choice):
        return
    choice = bytes(seen.tool_choice)
    if choice not in _WORDS:
        _choose(decode(_choice, choice) if choice[:1] == b"{" else None, seen.tools or (), found)
    if not seen.tools and choice not in (b'"none"', b'"auto"'):
        text = "Invalid 'tool_choice': it is only allowed together with 'tools'."
        raise BadBody(text, "invalid_value", "tool_choice")
    found.refit |= not seen.tools


def _choose(choice: bodies.ToolChoice | None, tools: Sequence[bodies.Tool], found: Peek) -> None:
    """Note what `tool_choice` asks for, where that is no word."""
    known = {tool.function.name for tool in tools if tool.function is not None}
    if choice is not None and choice.type == "function" and choice.function is not None:
        found.forced = True
        wanted = {choice.function.name}
    elif choice is not None and choice.type == "allowed_tools" and choice.allowed_tools is not None:
        found.refit = True
        wanted = {tool.function.name for tool in choice.allowed_tools.tools if tool.function is not None}
        if choice.allowed_tools.mode not in ("auto", "required"):
            text = 'Invalid \'tool_choice.allowed_tools.mode\': send "auto" or "required".'
            raise BadBody(text, "invalid_value", "tool_choice.allowed_tools.mode")
    else:
        text = (
            'Invalid \'tool_choice\': send "none", "auto", "required", {"type": "function", "function": {"name": ...}} '
            'or {"type": "allowed_tools", ...}.'
        )
        raise BadBody(text, "invalid_value", "tool_choice")
    if tools and (not wanted or wanted - known):
        text = "Invalid 'tool_choice': it names a function that is not among 'tools'."
        raise BadBody(text, "invalid_value", "tool_choice")


def _given(value: Raw) -> bool:
    return bytes(value) not in (b"", b"null")


def completion(body: bytes) -> Peek:
    """A body for /v1/completions. Raises BadBody."""
    seen: bodies.Completion = decode(_completion, body)
    if seen.prompt is None:
        raise _missing("prompt")
    if seen.prompt == []:
        raise BadBody("Invalid 'prompt': send at least one.", "invalid_value", "prompt")
    return _peek(seen)


def embedding(body: bytes) -> Peek:
    """A body for /v1/embeddings. Raises BadBody."""
    seen: bodies.Embedding = decode(_embedding, body)
    given = seen.input
    if not given or (isinstance(given, list) and ("" in given or [] in given)):
        raise BadBody("Invalid 'input': it must not be empty, nor hold anything empty.", "invalid_value", "input")
    if isinstance(given, list) and len(set(map(type, given))) > 1:
        text = "Invalid type for 'input': send a string, a list of strings, or token ids."
        raise BadBody(text, "invalid_type", "input")
    if len(given) > MOST_INPUTS and isinstance(given, list) and not isinstance(given[0], int):
        text = f"Invalid 'input': at most {MOST_INPUTS} inputs are taken at once, not {len(given)}: send fewer."
        raise BadBody(text, "invalid_value", "input")
    return Peek(_model(seen.model), keep_alive=bytes(seen.keep_alive), refit=seen.priority != bodies.NO_RAW)


def _peek(seen: bodies.Common) -> Peek:
    options = seen.stream_options or None
    if options is not None and not seen.stream:
        text = "Invalid 'stream_options': it is only allowed together with \"stream\": true."
        raise BadBody(text, "invalid_value", "stream_options")
    wanted = seen.response_format
    if wanted is not None and wanted.type == "json_schema" and wanted.json_schema is None:
        raise _missing("response_format.json_schema")
    key = seen.prompt_cache_key
    found = Peek(_model(seen.model), bool(seen.stream), key[:SESSION_CHARS].encode() if key else b"")
    found.refit = seen.n is None or _extras(seen) != _NONE
    if options is not None and options.include_usage:
        found.running = bool(options.continuous_usage_stats)
        found.usage = not found.running
    found.options = seen.stream_options is not UNSET
    found.keep_alive = bytes(seen.keep_alive)
    return found


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
    what = "value" if "<=" in reason or ">=" in reason or "enum" in reason else "type"
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
