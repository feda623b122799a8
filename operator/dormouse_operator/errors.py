"""The ways a look at a model can end early; anything else is a bug. Knows no HTTP and no client library."""


class Retry(Exception):  # noqa: N818 - an outcome, not a fault
    """The cluster could not do it now; the same look later may succeed."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after
        """Seconds the API server asked for, where it did."""


class Silence(Retry):
    """No answer at all: the API server is away, or the way to it."""


class Gone(Retry):
    """What was asked for is too old to be told of: list again."""


class NotLeading(Retry):
    """Another operator writes, or may: this one must not, and is about to end."""


class Terminal(Exception):  # noqa: N818 - an outcome, not a fault
    """The cluster refuses the object itself: only another spec (or another operator) can change that."""

    def __init__(self, message: str, kind: str = "", code: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        """Kind of the refused object."""
        self.code = code
