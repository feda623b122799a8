"""Whether one line of a file of requests can be asked, and what of it matters for planning. Pure.

Codes and words are OpenAI's, as recorded from it; `invalid_method` is ours. A good line is decoded once, into what is
looked at and nothing else, and everything it must be is asked by that decoder.
"""

import zlib
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from dormouse_router.batch.endpoints import INPUTS, Endpoint
from dormouse_router.batch.lifecycle import LineError

MOST_ID = 512
"""Characters of a custom_id."""
_BOM = b"\xef\xbb\xbf"
_PREFIX = 256
UNPARSEABLE = "This line is not parseable as valid JSON."
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_PARAMETERS = ("custom_id", "method", "url", "body")


class _Body(msgspec.Struct):
    """Of a body, what a line is judged by. Raw: looked at, not made into objects."""

    model: Any = msgspec.UNSET
    stream: Any = msgspec.UNSET
    messages: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    query: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    text_1: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Request(msgspec.Struct):
    custom_id: Any = msgspec.UNSET
    method: Any = msgspec.UNSET
    url: Any = msgspec.UNSET
    body: _Body | msgspec.UnsetType = msgspec.UNSET


_request = msgspec.json.Decoder(_Request)
_Content = list[msgspec.Raw] | dict[str, msgspec.Raw] | str | int | float | bool


class Asked(NamedTuple):
    """One good line."""

    custom_id: str
    model: str
    prefix: int
    """A checksum of how the prompt begins: lines that share it are best sent one after the other."""
    inputs: int
    """How many inputs it holds; more than one only for embeddings."""


class Judge:
    """Of the lines of one endpoint. What is good is seen in one pass; only what is not is looked at closely."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        name = Annotated[str, msgspec.Meta(min_length=1)]
        content = ("content", _Content, msgspec.field(name=endpoint.needs))
        body = msgspec.defstruct("body", [("model", name), content, ("stream", bool | None, None)], gc=False)
        ident = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID)]
        path: Any = Literal[endpoint.path]
        good = [("custom_id", ident), ("method", Literal["POST"]), ("url", path), ("body", body)]
        self._good: msgspec.json.Decoder[Any] = msgspec.json.Decoder(msgspec.defstruct("line", good, gc=False))
        self._many = endpoint.path == INPUTS

    def __call__(self, text: bytes, number: int) -> Asked | LineError:
        """The line as it may be asked, or why it may not."""
        try:
            if not text.isascii():
                text.decode()  # what is passed over is not looked at, and would be sent on as it is
            line = self._good.decode(text)
        except msgspec.ValidationError:
            return _closely(text, number, self._endpoint)
        except _BROKEN:
            return _unparseable(text, number)
        body = line.body
        if body.stream:
            return _closely(text, number, self._endpoint)
        content = body.content
        prefix = zlib.crc32(content[0]) if type(content) is list and content else _prefix(content)
        return Asked(line.custom_id, body.model, prefix, _inputs(content) if self._many else 1)


def _closely(text: bytes, number: int, endpoint: Endpoint) -> LineError:
    """What is wrong with a line that is JSON, as far as it was read."""
    try:
        request = _request.decode(text)
    except msgspec.ValidationError:
        return _misshapen(text, number)
    except _BROKEN:
        return _unparseable(text, number)
    parts = (request.custom_id, request.method, request.url, request.body)
    if None in parts or msgspec.UNSET in parts:
        name = next(name for name, part in zip(_PARAMETERS, parts, strict=True) if part in (None, msgspec.UNSET))
        return LineError("missing_required_parameter", f"Missing required parameter: '{name}'.", number, name)
    wrong = _envelope(request, endpoint) or _asked(request.body, endpoint)
    code, message, param = wrong or ("invalid_request", f"{endpoint.needs} cannot be read.", f"body.{endpoint.needs}")
    return LineError(code, message, number, param)


_Wrong = tuple[str, str, str]


def _envelope(request: _Request, endpoint: Endpoint) -> _Wrong | None:
    """What is wrong around the body."""
    if not isinstance(request.custom_id, str) or not 0 < len(request.custom_id) <= MOST_ID:
        return "invalid_request", f"custom_id must be a string of 1 to {MOST_ID} characters.", "custom_id"
    if request.method != "POST":
        return "invalid_method", "The method of a line must be POST.", "method"
    if request.url != endpoint.path:
        return "invalid_url", "The URL provided for this request does not match the batch endpoint.", "url"
    return None


def _asked(body: Any, endpoint: Endpoint) -> _Wrong | None:
    """What is wrong within it."""
    if not isinstance(body.model, str) or not body.model:
        return "invalid_request", "Model parameter is required.", "body.model"
    if getattr(body, endpoint.needs) in (msgspec.UNSET, _NULL):
        return "invalid_request", f"{endpoint.needs.capitalize()} parameter is required.", f"body.{endpoint.needs}"
    if body.stream not in (msgspec.UNSET, None, False):
        message = f"{endpoint.title}: Streaming is not supported in the Batch API."
        return "streaming_unsupported", message, "body.stream"
    return None


_NULL = msgspec.Raw(b"null")


def _unparseable(text: bytes, number: int) -> LineError:
    mark = " It begins with a byte order mark: save the file without one." if text.startswith(_BOM) else ""
    return LineError("invalid_json_line", UNPARSEABLE + mark, number)


def _misshapen(text: bytes, number: int) -> LineError:
    """What was met first was no object; what follows it may be no JSON at all."""
    try:
        whole = msgspec.json.decode(text)
    except _BROKEN:
        return _unparseable(text, number)
    message = "body must be an object." if isinstance(whole, dict) else "A line must be an object."
    return LineError("invalid_request", message, number, "body")


def _prefix(content: Any) -> int:
    """Of the first characters, where there is no first message."""
    return zlib.crc32(content[:_PREFIX].encode(errors="surrogatepass")) if type(content) is str else 0


def _inputs(content: Any) -> int:
    """A list of texts or of token lists is as many inputs; a list of numbers is one."""
    return len(content) if type(content) is list and content and bytes(content[0])[:1] in (b'"', b"[") else 1
