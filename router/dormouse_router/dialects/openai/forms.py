"""Calls whose body is a form: a recording to transcribe or translate, an image to edit. The model's name is inside.

The form goes on as it came, but for that name. What is not well-formed is refused: an engine might read it otherwise.
"""

from dataclasses import dataclass
from email.parser import BytesHeaderParser

from dormouse_router.dataplane.peek import BadBody, Peek
from dormouse_router.dialects.openai import abilities
from dormouse_router.dialects.openai.abilities import Ability
from dormouse_router.dialects.openai.calls import begin, refused
from dormouse_router.dialects.provenance import tell
from dormouse_router.gateway import SESSION, Call, Gateway
from dormouse_router.request import Line
from dormouse_router.settings import Settings

MOST_PARTS = 100
"""Of a form; OpenAI's largest has some twenty fields and sixteen images."""
MOST_HEADERS = 4096
_HEADERS = BytesHeaderParser()
_TRUE = (b"true", b"1", b"True")


@dataclass(frozen=True)
class Endpoint:
    """A route that takes a form."""

    path: str
    file: str
    """The field that must be there beside the model."""
    ability: Ability


ENDPOINTS = (
    Endpoint("/v1/audio/transcriptions", "file", Ability.TRANSCRIBE),
    Endpoint("/v1/audio/translations", "file", Ability.TRANSCRIBE),
    Endpoint("/v1/images/edits", "image", Ability.DRAW),
    Endpoint("/v1/images/variations", "image", Ability.DRAW),
)


class Form:
    """A form's fields, and where their values stand in it."""

    def __init__(self, content_type: bytes, body: bytes) -> None:
        """Raises BadBody."""
        said = _HEADERS.parsebytes(b"content-type: %b\r\n\r\n" % content_type)
        boundary = said.get_boundary() or ""
        if said.get_content_type() != "multipart/form-data" or not boundary.isascii() or not boundary:
            text = "This call takes a form: send multipart/form-data with a boundary."
            raise BadBody(text, "invalid_content_type")
        self._body = body
        self._spans = _spans(body, b"--" + boundary.encode())

    def value(self, name: str) -> bytes | None:
        """The field's value; of one that is sent more than once the last."""
        return next((self._body[start:stop] for field, start, stop in reversed(self._spans) if field == name), None)

    def has(self, name: str) -> bool:
        """Whether it has the field, or a list of it."""
        return any(field in (name, f"{name}[]") for field, _, _ in self._spans)

    def renamed(self, model: str) -> bytes:
        """The form with this model; every other byte stays."""
        parts: list[bytes] = []
        end = 0
        for field, start, stop in self._spans:
            if field == "model":
                parts += [self._body[end:start], model.encode()]
                end = stop
        return b"".join([*parts, self._body[end:]])


def _spans(body: bytes, delimiter: bytes) -> list[tuple[str, int, int]]:
    """(name, start, end) of every field's value."""
    if not body.startswith(delimiter):
        raise _malformed("it does not begin with its boundary")
    spans: list[tuple[str, int, int]] = []
    at = len(delimiter)
    while body[at : at + 2] == b"\r\n":
        if len(spans) == MOST_PARTS:
            raise _malformed(f"it has more than {MOST_PARTS} fields")
        head = body.find(b"\r\n\r\n", at, at + MOST_HEADERS)
        stop = body.find(b"\r\n" + delimiter, head + 4) if head >= 0 else -1
        if stop < 0:
            raise _malformed("a field of it has no end")
        spans.append((_name(body[at + 2 : head + 2]), head + 4, stop))
        at = stop + 2 + len(delimiter)
    if body[at : at + 2] != b"--":
        raise _malformed("it does not end with its boundary")
    return spans


def _name(headers: bytes) -> str:
    name = _HEADERS.parsebytes(headers).get_param("name", header="content-disposition")
    if not isinstance(name, str):
        raise _malformed("a field of it has no name")
    return name


def _malformed(why: str) -> BadBody:
    return BadBody(f"Could not parse the form: {why}. Send multipart/form-data.", "invalid_form")


class Posted:
    """One route that takes a form."""

    def __init__(self, gateway: Gateway, settings: Settings, endpoint: Endpoint) -> None:
        self._gateway, self._comments, self._endpoint = gateway, settings.comments, endpoint

    def __call__(self, line: Line) -> None:
        endpoint = self._endpoint
        content_type = line.header(b"content-type") or b""
        try:
            form = Form(content_type, line.payload)
            seen = _seen(form, endpoint)
        except BadBody as bad:
            raise refused(bad) from None
        record = self._gateway.find(seen.model, request=line)
        tell(line, record)
        abilities.check(record, endpoint.ability, seen.model)
        call = Call(
            record, endpoint.path, form.renamed(record.called), "openai", seen.stream, request_id=line.request_id
        )
        call.content_type, call.renamed = content_type, form.renamed
        call.session = line.header(SESSION) or b""
        begin(self._gateway, line, call, seen, self._comments)


def _seen(form: Form, endpoint: Endpoint) -> Peek:
    for field in ("model", endpoint.file):
        if not form.has(field):
            raise BadBody(f"Missing required parameter: '{field}'.", "missing_required_parameter", field)
    try:
        model = (form.value("model") or b"").decode()
    except UnicodeDecodeError:
        raise BadBody("Invalid 'model': it is not UTF-8.", "invalid_value", "model") from None
    if not model:
        raise BadBody("Invalid 'model': name the model to call.", "invalid_value", "model")
    return Peek(model, form.value("stream") in _TRUE)
