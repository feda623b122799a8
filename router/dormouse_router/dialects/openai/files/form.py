"""A form with one file in it, read as it arrives: small fields are collected, the file is handed on. No I/O.

What two readers could take differently is refused: a field or a file that comes twice, a file under another name, a
form that does not end.
"""

from dataclasses import dataclass
from dataclasses import field as made

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from dormouse_router.request import Refusal

MOST_FIELDS = 20
MOST_VALUE = 4096
MOST_BOUNDARY = 200
_DISPOSITION = b"content-disposition"


class Form:
    """`feed` it the body, then `end` it."""

    def __init__(self, content_type: str, file: str) -> None:
        """`file`: the field that is a file; it alone may be one. Refusal 400."""
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not 0 < len(boundary) <= MOST_BOUNDARY:
            raise malformed("This call takes a form: send multipart/form-data with a boundary.", "invalid_content_type")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        """As the client sent it; None until the file has begun."""
        self.complete = False
        """The last boundary has come."""
        self._file = file
        self._part: _Part | None = None
        self._pieces: list[bytes] = []
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers,
                "on_part_data": self._data,
                "on_part_end": self._end,
                "on_end": self._over,
            },
        )

    def feed(self, data: bytes) -> list[bytes]:
        """What of `data` is the file's. Refusal 400."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise malformed(f"The form is not well-formed: {error}.") from None
        pieces, self._pieces = self._pieces, []
        return pieces

    def end(self) -> None:
        """The body is over. Refusal 400 where the form is not."""
        if not self.complete:
            raise malformed("The form is cut short: its last boundary is missing.")

    # ------------------------------------------------------------------ the parser's side

    def _begin(self) -> None:
        self._part = _Part()

    def _header_name(self, data: bytes, start: int, stop: int) -> None:
        self._this.name += data[start:stop]

    def _header_value(self, data: bytes, start: int, stop: int) -> None:
        self._this.value += data[start:stop]

    def _header_end(self) -> None:
        part = self._this
        if bytes(part.name).lower() == _DISPOSITION:
            if part.disposition:
                raise malformed("A part of the form has two Content-Dispositions.")
            part.disposition = bytes(part.value)
        part.name, part.value = bytearray(), bytearray()

    def _headers(self) -> None:
        part = self._this
        kind, options = parse_options_header(part.disposition.decode("latin-1"))
        if kind != b"form-data" or b"name" not in options:
            raise malformed("A part of the form has no name.")
        part.field = options[b"name"].decode(errors="replace")
        part.is_file = b"filename" in options
        known = part.field in self.fields or (part.field == self._file and self.filename is not None)
        if known or len(self.fields) == MOST_FIELDS:
            raise malformed(f"The form has '{part.field[:80]}' twice, or too many fields: send each once.")
        if part.is_file != (part.field == self._file):
            raise malformed(f"The form's one file must be '{self._file}', sent with a file name.")
        if part.is_file:
            self.filename = options[b"filename"].decode(errors="replace")
        else:
            self.fields[part.field] = ""

    def _data(self, data: bytes, start: int, stop: int) -> None:
        part = self._this
        if part.is_file:
            self._pieces.append(data[start:stop])
            return
        part.text += data[start:stop]
        if len(part.text) > MOST_VALUE:
            raise malformed(f"The field '{part.field[:80]}' is longer than {MOST_VALUE} bytes.")

    def _end(self) -> None:
        part = self._this
        if not part.is_file:
            try:
                self.fields[part.field] = part.text.decode()
            except UnicodeDecodeError:
                raise malformed(f"The field '{part.field[:80]}' is not UTF-8.") from None

    def _over(self) -> None:
        self.complete = True

    @property
    def _this(self) -> "_Part":
        if self._part is None:
            raise malformed("The form does not begin with its boundary.")
        return self._part


@dataclass(slots=True)
class _Part:
    name: bytearray = made(default_factory=bytearray)
    value: bytearray = made(default_factory=bytearray)
    disposition: bytes = b""
    field: str = ""
    is_file: bool = False
    text: bytearray = made(default_factory=bytearray)


def malformed(text: str, code: str = "invalid_form") -> Refusal:
    """What a client is told whose body is no form that is taken here."""
    return Refusal(400, text, code=code)
