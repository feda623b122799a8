"""The blocks of a streamed message: one after another, each begun, told in pieces, and ended. Pure."""

from dormouse_router.dialects.anthropic import shapes
from dormouse_router.dialects.chunks import ToolDelta
from dormouse_router.dialects.translating import AnswerError


class Blocks:
    """Each method gives the events for what was said; the open block ends where something else begins."""

    def __init__(self, signature: str, *, sign_only: bool) -> None:
        """`sign_only`: thinking is not told, only that there was some."""
        self._signature, self._sign_only = signature, sign_only
        self._kind: str | None = None
        self._index = -1
        self._tell = shapes.Deltas("text", 0)
        self._blank = ""
        """White space that belongs to the next text, if one comes: a block of nothing else is not worth beginning."""
        self._call: int | None = None
        """The engine's number of the call that is being told."""
        self._known: set[int] = set()
        self._name = self._early = ""
        """Of a call whose block has not begun: it begins when its arguments turn out to be an object."""
        self.called = False
        """Whether a tool was called."""

    def text(self, text: str) -> bytes:
        if self._kind == "text":
            return self._tell(text)
        text = self._blank + text
        if text.isspace():
            self._blank = text
            return b""
        self._blank = ""
        return self._begin("text") + self._tell(text)

    def thought(self, text: str) -> bytes:
        begun = b"" if self._kind == "thinking" else self._begin("thinking")
        return begun if self._sign_only else begun + self._tell(text)

    def call(self, delta: ToolDelta) -> bytes:
        """A piece of a call. AnswerError where it belongs to a call that has ended."""
        out = b""
        if delta.index != self._call:
            out = self.close()
            if delta.index in self._known:
                raise AnswerError("the engine mixed up its tool calls: send the request again")
            self._known.add(delta.index)
            self._call, self._name, self._early = delta.index, "", ""
        function = delta.function
        if function is None:
            return out
        if self._kind == "tool_use":
            return out + self._tell(function.arguments) if function.arguments else out
        self._name = self._name or function.name or ""
        self._early += function.arguments or ""
        if self._name and self._early.lstrip().startswith("{"):
            out += self._begin_call() + self._tell(self._early)
        return out

    def close(self) -> bytes:
        """The open block ends, if one is open; a call that was no object of arguments is told as text."""
        begun = self._begin_late() if self._kind is None and self._call is not None else b""
        kind, self._kind, self._call = self._kind, None, None
        if kind is None:
            return begun
        signed = shapes.Deltas("signature", self._index)(self._signature) if kind == "thinking" else b""
        return begun + signed + shapes.stop(self._index)

    def end(self) -> bytes:
        """Nothing more comes. An answer of white space only is told at last."""
        last = self.close()
        if self._index < 0 and self._blank:
            last += self._begin("text") + self._tell(self._blank) + self.close()
        return last

    def _begin_late(self) -> bytes:
        """A call of which no more comes: without arguments, or with what nobody can run."""
        if self._name and not self._early.strip():
            return self._begin_call()
        spoilt = f"{self._name}({self._early})" if self._name else self._early
        self._call = None
        return self._begin("text") + self._tell(spoilt) if spoilt else b""

    def _begin_call(self) -> bytes:
        self.called = True
        return self._start("tool_use", {"id": shapes.tool_id(), "name": self._name})

    def _begin(self, kind: str) -> bytes:
        return self.close() + self._start(kind)

    def _start(self, kind: str, tool: dict[str, str] | None = None) -> bytes:
        """A block begins where none is open."""
        self._kind = kind
        self._index += 1
        self._tell = shapes.Deltas(kind, self._index)
        return shapes.start(kind, self._index, tool)
