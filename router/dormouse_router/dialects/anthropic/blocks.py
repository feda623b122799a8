"""The blocks of a streamed message: one after another, each begun, told in pieces, and ended. Pure."""

from dormouse_router.dialects.anthropic import shapes
from dormouse_router.dialects.anthropic.errors import AnswerError
from dormouse_router.dialects.chunks import ToolDelta


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
        self._early = ""
        """Arguments that came before the name of their call."""
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
            self._call, self._early = delta.index, ""
        function = delta.function
        if function is None:
            return out
        arguments = function.arguments or ""
        if self._kind != "tool_use":
            self._early += arguments
            if not function.name:
                return out
            arguments = self._early
            out += self._begin("tool_use", {"id": shapes.tool_id(), "name": function.name})
            self.called = True
        return out + self._tell(arguments) if arguments else out

    def close(self) -> bytes:
        """The open block ends, if one is open."""
        kind, self._kind = self._kind, None
        if kind is None:
            return b""
        self._call = None
        signed = shapes.Deltas("signature", self._index)(self._signature) if kind == "thinking" else b""
        return signed + shapes.stop(self._index)

    def end(self) -> bytes:
        """Nothing more comes. An answer of white space only is told at last."""
        if self._index < 0 and self._blank:
            return self._begin("text") + self._tell(self._blank) + self.close()
        return self.close()

    def _begin(self, kind: str, tool: dict[str, str] | None = None) -> bytes:
        call = self._call
        ended = self.close()
        self._call = call if kind == "tool_use" else None
        self._kind = kind
        self._index += 1
        self._tell = shapes.Deltas(kind, self._index)
        return ended + shapes.start(kind, self._index, tool)
