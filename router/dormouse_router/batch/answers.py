"""From a line of a batch's input to the line of its answer, as bytes. Pure.

What passes through is never made into objects. Lines that were never asked are `batch.results`'.
"""

from hashlib import blake2b

import msgspec

from dormouse_router.batch.lifecycle import Usage

_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.encode


class Asked(msgspec.Struct):
    """One line of the input: the parts as they are written there."""

    custom_id: msgspec.Raw
    body: msgspec.Raw


asked = msgspec.json.Decoder(Asked).decode
"""Of a line that was found good. msgspec.DecodeError where it is not."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    """Of chats, completions and embeddings, or, by its other names, of responses and images."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


class _Said(msgspec.Struct):
    code: str | int | None = None


class _Refused(msgspec.Struct):
    error: _Said | None = None


_answer = msgspec.json.Decoder(_Answer).decode
_refused = msgspec.json.Decoder(_Refused).decode
_NOTHING = _Details()


def usage(body: bytes) -> Usage | None:
    """The tokens that an answer tells of; None where it is no JSON object, and so no answer."""
    try:
        said = _answer(body).usage
    except msgspec.ValidationError:  # an object, whose usage is none that we know
        return Usage() if body.lstrip()[:1] == b"{" and _whole(body) else None
    except _BROKEN:
        return None
    if said is None:
        return Usage()
    into = said.prompt_tokens_details or said.input_tokens_details or _NOTHING
    out = said.completion_tokens_details or said.output_tokens_details or _NOTHING
    return Usage(
        input=said.prompt_tokens or said.input_tokens or 0,
        cached=into.cached_tokens or 0,
        output=said.completion_tokens or said.output_tokens or 0,
        reasoning=out.reasoning_tokens or 0,
    )


def _whole(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except _BROKEN:
        return False
    return True


def code(body: bytes) -> str:
    """The machine-readable word of a refusal; "" where it has none."""
    try:
        said = _refused(body).error
    except _BROKEN:
        return ""
    return said.code if said is not None and isinstance(said.code, str) else ""


def request_id(batch: str, number: int) -> str:
    """The id of a line's result: the same whoever writes it."""
    return f"batch_req_{blake2b(f'{batch}/{number}'.encode(), digest_size=16).hexdigest()}"


def answered(id: str, custom_id: bytes, status: int, request: str, body: bytes) -> bytes:  # noqa: A002
    """The line of an answer, without its end. `custom_id` and `body` are JSON."""
    if b"\n" in body or b"\r" in body:
        body = _one_line(body)
    head = b'{"id":"%b","custom_id":%b,"response":{"status_code":%d,"request_id":%b,"body":' % (
        id.encode(),
        custom_id,
        status,
        _encode(request),
    )
    return head + body + b'},"error":null}'


def refusal(status: int, body: bytes) -> bytes:
    """The body of an error's line: OpenAI's envelope, also where what came is none."""
    try:
        if _refused(body).error is not None:
            return body
    except _BROKEN:
        pass
    kind = "server_error" if status >= 500 else "invalid_request_error"
    text = body[:500].decode(errors="replace") or "No answer came."
    return _encode({"error": {"message": text, "type": kind, "param": None, "code": None}})


def _one_line(body: bytes) -> bytes:
    """JSON without the white space between its parts; within its strings there are no line ends."""
    return msgspec.json.format(body, indent=-1)
