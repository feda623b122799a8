"""What stands inside one action: values, functions and their arguments, pipelines, and the variables they set."""

from collections.abc import Container

from dormouse_router.dialects.ollama.gotemplate import literals
from dormouse_router.dialects.ollama.gotemplate.lexer import Kind, Token
from dormouse_router.dialects.ollama.gotemplate.nodes import (
    Chain,
    Command,
    Dot,
    Field,
    Function,
    Literal,
    Nil,
    Operand,
    Pipe,
    TemplateError,
    Value,
    Variable,
    error_at,
)

MAX_PARENTHESES = 32
MAX_VARIABLES = 1000
_CONSTANTS: dict[str, Value] = {"true": True, "false": False}
_STATEMENTS = frozenset({"if", "else", "end", "with", "range", "break", "continue", "define", "block", "template"})


class Scope:
    """The variables that can be seen, each with its slot. `$` has slot 0."""

    def __init__(self) -> None:
        self.slots = 1
        self._seen = {"$": 0}

    def enter(self) -> dict[str, int]:
        """Begin an inner scope; hand what this gives to `leave`."""
        return dict(self._seen)

    def leave(self, outer: dict[str, int]) -> None:
        self._seen = outer

    def slot(self, name: str) -> int | None:
        return self._seen.get(name)

    def declare(self, name: str) -> int:
        self._seen[name] = slot = self.slots
        self.slots += 1
        return slot


class Pipes:
    """Parses from the token `next` on, which afterwards is the one behind."""

    def __init__(self, source: str, tokens: list[Token], first: int, scope: Scope, functions: Container[str]) -> None:
        self.next = first
        self._source, self._tokens, self._scope, self._functions = source, tokens, scope, functions
        self._nested = 0

    def pipe(self, what: str, end: Kind, most: int = 1) -> Pipe:
        """A pipeline up to its closing braces or, inside of parentheses, up to `)`; `most`: of variables it may set."""
        start = self._skip().pos
        names, declares = self._targets(most)
        commands: list[Command] = []
        while True:
            command = self._command(commands, what)
            commands.append(command)
            token = self._take()
            if token.text == "|":
                continue
            if token.kind is end and (end is Kind.CLOSE or token.text == ")"):
                break
            raise self._error(token, f"unexpected {token.shown}: put a space between arguments, or end it with }}}}")
        slots = tuple(self._scope.declare(name.text) if declares else self._known(name) for name in names)
        return Pipe(start, slots, tuple(commands))

    def string(self, token: Token) -> str:
        try:
            return literals.string(token.text)
        except ValueError as error:
            raise self._error(token, f"{token.shown} is not a text: {error}; write it between backquotes") from error

    # ------------------------------------------------------------------ variables that are set

    def _targets(self, most: int) -> tuple[list[Token], bool]:
        """The variables before := or =, if these follow; whether they are new."""
        before = self.next
        names: list[Token] = []
        while self._skip().kind is Kind.VARIABLE:
            names.append(self._take())
            sign = self._skip()
            if sign.text in (":=", "=") and sign.kind is Kind.SIGN:
                self._take()
                self._bounded(names, most)
                return names, sign.text == ":="
            if sign.text != "," or sign.kind is not Kind.SIGN:
                break
            self._take()
        self.next = before
        return [], False

    def _bounded(self, names: list[Token], most: int) -> None:
        if len(names) > most:
            raise self._error(names[most], "more variables than values: range sets one or two, anything else one")
        if self._scope.slots + len(names) > MAX_VARIABLES:
            raise self._error(names[0], f"more than {MAX_VARIABLES} variables: use fewer")

    def _known(self, name: Token) -> int:
        slot = self._scope.slot(name.text)
        if slot is None:
            raise self._error(name, f"no variable {name.text[:40]} is declared here: declare it with := before")
        return slot

    # ------------------------------------------------------------------ commands

    def _command(self, before: list[Command], what: str) -> Command:
        first = self._skip()
        args: list[Operand] = []
        while (token := self._skip()).kind is not Kind.CLOSE and token.text not in ("|", ")"):
            args.append(self._operand())
            follows = self._tokens[self.next]
            if follows.kind not in (Kind.SPACE, Kind.CLOSE) and follows.text not in ("|", ")"):
                raise self._error(follows, f"unexpected {follows.shown}: put a space between arguments")
        if not args:
            missing = "a command before or after |" if before or token.text == "|" else what
            raise self._error(token, f"{missing} is missing: write it before {token.shown}")
        if isinstance(args[0], Nil):
            raise self._error(first, "nil is no command: give it to a function, as in eq .System nil")
        if not isinstance(args[0], Function) and (before or len(args) > 1):
            raise self._error(first, f"{first.shown} takes no arguments, for it is no function: remove them")
        return Command(first.pos, tuple(args))

    def _operand(self) -> Operand:
        token = self._take()
        operand = self._term(token)
        names = self._names()
        if not names:
            return operand
        match operand:
            case Field(pos, own):
                return Field(pos, own + names)
            case Variable(pos, slot, own):
                return Variable(pos, slot, own + names)
            case Pipe(pos):
                return Chain(pos, operand, names)
        raise self._error(token, f"{token.shown} has no fields: remove what follows it")

    def _names(self) -> tuple[str, ...]:
        names = []
        while self._tokens[self.next].kind is Kind.FIELD:
            names.append(self._take().text[1:])
        return tuple(names)

    def _term(self, token: Token) -> Operand:
        match token.kind:
            case Kind.DOT:
                return Dot(token.pos)
            case Kind.FIELD:
                return Field(token.pos, (token.text[1:],))
            case Kind.VARIABLE:
                return Variable(token.pos, self._known(token), ())
            case Kind.WORD:
                return self._word(token)
            case Kind.STRING:
                return Literal(token.pos, self.string(token))
            case Kind.NUMBER | Kind.CHARACTER:
                return Literal(token.pos, self._number(token))
            case Kind.SIGN if token.text == "(":
                return self._parenthesis(token)
        raise self._error(token, f"unexpected {token.shown}: a value or a function belongs here")

    def _parenthesis(self, token: Token) -> Pipe:
        self._nested += 1
        if self._nested > MAX_PARENTHESES:
            raise self._error(token, f"more than {MAX_PARENTHESES} parentheses inside each other: use variables")
        pipe = self.pipe("a value in parentheses", Kind.SIGN)
        self._nested -= 1
        return pipe

    def _word(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Literal(token.pos, _CONSTANTS[token.text])
        if token.text == "nil":
            return Nil(token.pos)
        if token.text in self._functions:
            return Function(token.pos, token.text)
        if token.text in _STATEMENTS:
            raise self._error(token, f"unexpected {token.shown}: it begins an action of its own")
        raise self._error(token, f"there is no function {token.shown}: put a text into quotes, a field behind a dot")

    def _number(self, token: Token) -> Value:
        try:
            number = literals.character if token.kind is Kind.CHARACTER else literals.number
            return number(token.text)
        except ValueError as error:
            raise self._error(token, f"{token.shown} is not a number that fits 64 bits: {error}") from error

    # ------------------------------------------------------------------ tokens

    def _take(self) -> Token:
        token = self._tokens[self.next]
        self.next = min(self.next + 1, len(self._tokens) - 1)
        return token

    def _skip(self) -> Token:
        """The next token that is no space; it is not taken."""
        while self._tokens[self.next].kind is Kind.SPACE:
            self.next += 1
        return self._tokens[self.next]

    def _error(self, token: Token, what: str) -> TemplateError:
        return error_at(self._source, token.pos, what)
