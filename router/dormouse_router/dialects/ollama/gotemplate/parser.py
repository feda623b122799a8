"""From tokens to nodes: which statements, in which order, nested how. Whatever can be known to fail fails here.

So a template that was accepted is refused later only for what it meets in a conversation. There are no methods and no
fields that are functions, hence only a function takes arguments.
"""

from collections.abc import Callable, Container

from dormouse_router.dialects.ollama.gotemplate.lexer import Kind, Token
from dormouse_router.dialects.ollama.gotemplate.nodes import (
    Action,
    Arm,
    Body,
    Branch,
    Break,
    Continue,
    Definition,
    Include,
    Pipe,
    Range,
    Statement,
    TemplateError,
    Text,
    error_at,
)
from dormouse_router.dialects.ollama.gotemplate.pipes import Pipes, Scope

MAX_NESTED = 32
MAX_DEFINED = 64
_BRANCHES = ("if", "with")


class Parser:
    """One template's source. `main` is what stands outside of its definitions."""

    def __init__(self, source: str, found: list[Token], functions: Container[str]) -> None:
        self.definitions: dict[str, Definition] = {}
        self._source, self._tokens = source, found
        self._next = 0
        self._functions = functions
        self._nested = self._loops = 0
        self._scope = Scope()
        self._includes: list[Include] = []

    def parse(self) -> Definition:
        """The whole template."""
        body, _ = self._body(())
        for include in self._includes:
            if include.name not in self.definitions:
                name = include.name[:40]
                raise error_at(self._source, include.pos, f'no template "{name}" is defined: define it, or remove this')
        return Definition(body, self._scope.slots)

    # ------------------------------------------------------------------ statements

    def _body(self, ends: tuple[str, ...]) -> tuple[Body, Token]:
        """Statements up to `else` or `end`, or the end of the source; that token, its braces being still open."""
        made: list[Statement] = []
        outer = self._scope.enter()
        while (token := self._take()).kind is not Kind.END:
            if token.kind is Kind.TEXT:
                made.append(Text(token.pos, token.text))
                continue
            word = self._skip_space()
            if word.kind is Kind.WORD and word.text in ("end", "else"):
                if word.text not in ends:
                    opened = "an else of its own" if ends else "an if, with or range before it"
                    raise self._error(word, f"{{{{ {word.text} }}}} without {opened}: remove it")
                self._scope.leave(outer)
                return tuple(made), self._take()
            statement = self._statement(word)
            if statement is not None:
                made.append(statement)
        if ends:
            raise self._error(token, f"the template ends where {{{{ {ends[-1]} }}}} is missing: add it")
        return tuple(made), token

    def _statement(self, word: Token) -> Statement | None:
        """The statement that begins at `word`, its closing braces included; None where it shows nothing."""
        if word.kind is not Kind.WORD:
            return self._action(word)
        name = word.text
        if name in _BRANCHES:
            return self._deeper(word, lambda: self._branch(name))
        if name == "range":
            return self._deeper(word, self._range)
        if name in ("break", "continue"):
            return self._jump(word)
        if name in ("define", "block"):
            return self._deeper(word, lambda: self._define(word))
        if name == "template":
            return self._include()
        return self._action(word)

    def _deeper(self, at: Token, parse: Callable[[], Statement | None]) -> Statement | None:
        self._take()
        self._nested += 1
        if self._nested > MAX_NESTED:
            raise self._error(at, f"more than {MAX_NESTED} statements inside each other: use fewer")
        found = parse()
        self._nested -= 1
        return found

    def _action(self, at: Token) -> Action:
        pipe = self._pipe("a command", Kind.CLOSE)
        return Action(at.pos, pipe)

    def _branch(self, word: str) -> Branch:
        start = self._tokens[self._next - 1].pos
        outer = self._scope.enter()
        arms: list[Arm] = []
        otherwise: Body = ()
        more = True
        while more:
            pipe = self._pipe(f"a condition for {word}", Kind.CLOSE)
            body, end = self._body(("else", "end"))
            arms.append(Arm(pipe, body))
            more = end.text == "else" and self._goes_on(word)
            if end.text == "end":
                self._close("end")
            elif not more:
                otherwise = self._last()
        self._scope.leave(outer)
        return Branch(start, tuple(arms), otherwise, rebinds=word == "with")

    def _goes_on(self, word: str) -> bool:
        """`else if` (or `else with`) rather than `else`."""
        if (found := self._skip_space()).kind is not Kind.WORD:
            self._close("else")
            return False
        if found.text != word:
            what = f"unexpected {found.shown} after else: write {{{{ else }}}} or {{{{ else {word} ... }}}}"
            raise self._error(found, what)
        self._take()
        return True

    def _last(self) -> Body:
        """What follows `else`, and its `end`."""
        body, _ = self._body(("end",))
        self._close("end")
        return body

    def _range(self) -> Range:
        start = self._tokens[self._next - 1].pos
        outer = self._scope.enter()
        pipe = self._pipe("a value for range", Kind.CLOSE, most=2)
        self._loops += 1
        body, end = self._body(("else", "end"))
        self._loops -= 1
        otherwise: Body = ()
        self._close(end.text)
        if end.text == "else":
            otherwise = self._last()
        self._scope.leave(outer)
        return Range(start, Arm(pipe, body), otherwise)

    def _jump(self, word: Token) -> Statement:
        self._take()
        if not self._loops:
            raise self._error(word, f"{{{{ {word.text} }}}} outside of range: remove it")
        self._close(word.text)
        return Break(word.pos) if word.text == "break" else Continue(word.pos)

    def _define(self, word: Token) -> Include | None:
        """`define`, or `block`, which is shown where it stands."""
        name, pipe = self._name(word.text), None
        if word.text == "block":
            pipe = self._pipe("a value for block", Kind.CLOSE)
        else:
            if self._nested > 1:
                raise self._error(word, "a definition inside another statement: put it at the beginning")
            self._close(word.text)
        if len(self.definitions) >= MAX_DEFINED:
            raise self._error(word, f"more than {MAX_DEFINED} definitions: use fewer")
        outer, self._scope = self._scope, Scope()
        loops, self._loops = self._loops, 0
        body = self._last()
        self.definitions[name] = Definition(body, self._scope.slots)
        self._scope, self._loops = outer, loops
        return Include(word.pos, name, pipe) if pipe is not None else None

    def _include(self) -> Include:
        word = self._take()
        name, pipe = self._name("template"), None
        if self._skip_space().kind is Kind.CLOSE:
            self._close("template")
        else:
            pipe = self._pipe("a value for template", Kind.CLOSE)
        self._includes.append(Include(word.pos, name, pipe))
        return self._includes[-1]

    # ------------------------------------------------------------------ tokens

    def _name(self, word: str) -> str:
        token = self._skip_space()
        if token.kind is not Kind.STRING:
            raise self._error(token, f'{word} needs a name in quotes: {{{{ {word} "name" }}}}')
        return self._pipes().string(self._take())

    def _pipe(self, what: str, end: Kind, most: int = 1) -> Pipe:
        pipes = self._pipes()
        pipe = pipes.pipe(what, end, most)
        self._next = pipes.next
        return pipe

    def _pipes(self) -> Pipes:
        return Pipes(self._source, self._tokens, self._next, self._scope, self._functions)

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _skip_space(self) -> Token:
        """The next token that is no space; it is not taken."""
        while self._tokens[self._next].kind is Kind.SPACE:
            self._next += 1
        return self._tokens[self._next]

    def _close(self, after: str) -> None:
        token = self._skip_space()
        if token.kind is not Kind.CLOSE:
            raise self._error(token, f"unexpected {token.shown} after {after}: end it with }}}}")
        self._take()

    def _error(self, token: Token, what: str) -> TemplateError:
        return error_at(self._source, token.pos, what)
