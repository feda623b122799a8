"""Whether a file of requests may be worked on as a batch, and where its lines lie. Pure; fed piece by piece."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from dormouse_router.batch import splitting
from dormouse_router.batch.endpoints import INPUTS, Endpoint
from dormouse_router.batch.judging import UNPARSEABLE, Asked, Judge
from dormouse_router.batch.lifecycle import MOST_ERRORS, LineError

MOST_LINES = 50_000
MOST_INPUTS = 50_000
_BYTES_PER_TOKEN = 4
"""Of JSON, as text goes: what is counted against the limit of enqueued tokens is an estimate."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What this router takes. `serves` says whether a model has that name."""

    endpoint: Endpoint
    serves: Callable[[str], bool]
    mixed: bool = True
    """Whether the lines of one file may name several models."""
    most_lines: int = MOST_LINES
    most_tokens: int | None = None


@dataclass(slots=True)
class Index:
    """Where the good lines lie: columns of one table. Offsets and lengths are in bytes, without the line's end."""

    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    offsets: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    models: "array[int]" = field(default_factory=lambda: array("I"))
    """Places in `names`."""
    prefixes: "array[int]" = field(default_factory=lambda: array("I"))
    names: list[str] = field(default_factory=list)
    """Names of the models, in order of appearance."""

    def __len__(self) -> int:
        return len(self.numbers)

    def add(self, number: int, offset: int, length: int, model: int, prefix: int) -> None:
        self.numbers.append(number)
        self.offsets.append(offset)
        self.lengths.append(length)
        self.models.append(model)
        self.prefixes.append(prefix)


class Validation:
    """Feed it the file in order, then `end`; it may go on when `errors` is empty.

    Once MOST_ERRORS are known, or the file is too long, `hopeless` says that the rest need not be read.
    """

    def __init__(self, rules: Rules) -> None:
        self.index = Index()
        self.errors: list[LineError] = []
        self.hopeless = False
        self._rules, self._judge = rules, Judge(rules.endpoint)
        self._splitter = splitting.Splitter()
        self._number = self._offset = 0
        """Of the line that is looked at."""
        self._blank: int | None = None
        self._ids: set[str] = set()
        self._places: dict[str, int] = {}
        self._lines = self._inputs = self._bytes = 0

    def feed(self, piece: bytes) -> None:
        """The next bytes of the file."""
        if not self.hopeless:
            self._take(self._splitter.feed(piece))
        if not self.hopeless and self._splitter.too_long:
            message = f"A line may have at most {splitting.MOST_LINE_BYTES} bytes."
            self._stop(LineError("invalid_request", message, self._number + 1))

    def end(self) -> None:
        """The file is over."""
        if not self.hopeless:
            self._take(self._splitter.end())
        self._ids.clear()  # several MB, where the file is long, and what comes next has use for them
        if not self._lines and not self.errors:
            self._refuse(LineError("empty_file", "The input file has no lines."))

    def _take(self, texts: list[bytes]) -> None:
        for text in texts:
            self._number += 1
            if not text or text.isspace():
                self._blank = self._blank or self._number
            else:
                self._look(text)
                if self.hopeless:
                    return
            self._offset += len(text) + 1

    def _look(self, text: bytes) -> None:
        if self._blank is not None:  # only behind the last line may there be empty ones
            self._refuse(LineError("invalid_json_line", UNPARSEABLE, self._blank))
            self._blank = None
        self._lines += 1
        if self._lines > self._rules.most_lines:
            self._stop(LineError("too_many_tasks", f"A batch may have at most {self._rules.most_lines} requests."))
            return
        asked = self._judge(text, self._number)
        if isinstance(asked, LineError):
            self._refuse(asked)
        else:
            self._admit(len(text), asked)

    def _admit(self, length: int, asked: Asked) -> None:
        if asked.custom_id in self._ids:
            message = f"The custom_id for this request is a duplicate of another request: {asked.custom_id[:64]}"
            self._refuse(LineError("duplicate_custom_id", message, self._number, "custom_id"))
            return
        self._ids.add(asked.custom_id)
        place = self._places.get(asked.model)
        if place is None:
            place = self._meet(asked.model, self._number)
        if place < 0:
            return
        self._bytes += length
        self._inputs += asked.inputs
        if self._rules.endpoint.path == INPUTS and self._inputs > MOST_INPUTS:
            message = f"The embeddings of a batch may have at most {MOST_INPUTS} inputs together."
            self._stop(LineError("too_many_tasks", message, self._number, "body.input"))
        elif self._rules.most_tokens is not None and self._bytes > self._rules.most_tokens * _BYTES_PER_TOKEN:
            message = f"Enqueued token limit reached for {asked.model}: wait for other batches, or send fewer lines."
            self._stop(LineError("token_limit_exceeded", message))
        else:
            self.index.add(self._number, self._offset, length, place, asked.prefix)

    def _meet(self, model: str, number: int) -> int:
        """The place of a model that no line has named before; -1 where it cannot be asked. Told for its first line."""
        place = -1
        if not self._rules.serves(model):
            message = f"The provided model '{model[:256]}' is not supported by the Batch API."
            self._refuse(LineError("model_not_found", message, number, "body.model"))
        elif self.index.names and not self._rules.mixed:
            message = f"All requests of a batch must name one model; the first names '{self.index.names[0]}'."
            self._refuse(LineError("model_mismatch", message, number, "body.model"))
        else:
            place = len(self.index.names)
            self.index.names.append(model)
        if len(self._places) < self._rules.most_lines:
            self._places[model] = place
        return place

    def _refuse(self, error: LineError) -> None:
        self.errors.append(error)
        self.hopeless = len(self.errors) >= MOST_ERRORS

    def _stop(self, error: LineError) -> None:
        self._refuse(error)
        self.hopeless = True
