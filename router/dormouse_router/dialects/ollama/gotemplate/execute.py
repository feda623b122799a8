"""Runs a template over data. Bounded: steps, characters and depth; whatever a template does wrong is a TemplateError.

Looks into nothing but dicts and lists: no attribute of a Python object can be reached.
"""

from collections.abc import Mapping
from datetime import date

from dormouse_router.dialects.ollama.gotemplate.functions import FUNCTIONS
from dormouse_router.dialects.ollama.gotemplate.nodes import (
    Action,
    Arm,
    Body,
    Branch,
    Break,
    Chain,
    Command,
    Continue,
    Definition,
    Dot,
    Field,
    Function,
    Include,
    Literal,
    Nil,
    Operand,
    Pipe,
    Range,
    Statement,
    TemplateError,
    Text,
    Value,
    Variable,
    error_at,
)
from dormouse_router.dialects.ollama.gotemplate.values import Struct, kind, printed, truth

MAX_STEPS = 100_000
"""A step takes about two microseconds of the router's one thread. A conversation of 1,000 turns takes some 20,000."""
MAX_CHARACTERS = 32 * 1024 * 1024
"""Read by functions and shown, together: so nothing can be copied over and over."""
MAX_DEPTH = 100
_Jump = type[Break] | type[Continue] | None


class Run:
    """One execution. `out` is the text so far; further executions append to it and share the bounds."""

    def __init__(self, source: str, definitions: Mapping[str, Definition], today: date) -> None:
        self.out: list[str] = []
        self._source, self._definitions, self._today = source, definitions, today
        self._steps = self._characters = self._depth = 0
        self._slots: list[Value] = []

    def execute(self, definition: Definition, data: Value, pos: int = 0) -> None:
        """Append what `definition` shows for `data`, which is its dot and its `$`."""
        outer, self._slots = self._slots, [None] * definition.slots
        self._slots[0] = data
        self._enter(pos)
        self._body(definition.body, data)
        self._depth -= 1
        self._slots = outer

    # ------------------------------------------------------------------ statements

    def _body(self, body: Body, dot: Value) -> _Jump:
        for statement in body:
            self._step(statement.pos)
            if jump := self._statement(statement, dot):
                return jump
        return None

    def _statement(self, statement: Statement, dot: Value) -> _Jump:
        match statement:
            case Text(pos, text):
                self._show(pos, text)
            case Action(pos, pipe):
                value = self._pipe(pipe, dot)
                if not pipe.slots:
                    self._show(pos, printed(value))
            case Branch():
                return self._branch(statement, dot)
            case Range(_, arm, otherwise):
                return self._range(arm, otherwise, dot)
            case Include(pos, name, pipe):
                data = self._pipe(pipe, dot) if pipe is not None else None
                self.execute(self._definitions[name], data, pos)
            case Break() | Continue():
                return type(statement)
        return None

    def _branch(self, branch: Branch, dot: Value) -> _Jump:
        self._enter(branch.pos)
        body, inner = branch.otherwise, dot
        for arm in branch.arms:
            value = self._pipe(arm.pipe, dot)
            if truth(value):
                body, inner = arm.body, value if branch.rebinds else dot
                break
        jump = self._body(body, inner)
        self._depth -= 1
        return jump

    def _range(self, arm: Arm, otherwise: Body, dot: Value) -> _Jump:
        self._enter(arm.pipe.pos)
        value = self._pipe(arm.pipe, dot, sets=False)
        members = self._members(arm.pipe, value)
        jump: _Jump = None
        for key, member in members:
            self._step(arm.pipe.pos)
            for slot, each in zip(reversed(arm.pipe.slots), (member, key), strict=False):
                self._slots[slot] = each
            if self._body(arm.body, member) is Break:
                break
        if not members:
            jump = self._body(otherwise, dot)
            jump = None if jump is Break else jump  # Go ends this range there, not the one around it
        self._depth -= 1
        return jump

    def _members(self, pipe: Pipe, value: Value) -> list[tuple[Value, Value]]:
        """(key or place, value) of all that a range goes over."""
        if isinstance(value, (list, dict)):
            self._charge(pipe.pos, len(value))
        match value:
            case None:
                return []
            case list():
                return list(enumerate(value))
            case dict() if not isinstance(value, Struct):
                return [(key, value[key]) for key in sorted(value)]
            case int() if not isinstance(value, bool):
                if len(pipe.slots) > 1:
                    raise self._error(pipe.pos, "a number has no places to go over: set one variable")
                if value > MAX_STEPS:
                    raise self._error(pipe.pos, f"more than {MAX_STEPS} rounds: use fewer")
                return [(None, number) for number in range(value)]
        raise self._error(pipe.pos, f"range cannot go over {kind(value)}: give it a list, a map or a number")

    # ------------------------------------------------------------------ values

    def _pipe(self, pipe: Pipe, dot: Value, *, sets: bool = True) -> Value:
        value = self._command(pipe.commands[0], dot, ())
        for command in pipe.commands[1:]:
            value = self._command(command, dot, (value,))
        if sets:
            for slot in pipe.slots:
                self._slots[slot] = value
        return value

    def _command(self, command: Command, dot: Value, given: tuple[Value, ...]) -> Value:
        first = command.args[0]
        if not isinstance(first, Function):
            return self._operand(first, dot)
        self._step(first.pos)
        operands = command.args[1:]
        if first.name in ("and", "or"):
            return self._lazily(first, operands, dot, given)
        return self._call(first, [*(self._operand(each, dot) for each in operands), *given])

    def _lazily(self, function: Function, operands: tuple[Operand, ...], dot: Value, given: tuple[Value, ...]) -> Value:
        """`and`: the first that is false; `or`: the first that is true; else the last. None is looked at behind it."""
        stop = function.name == "or"
        value: Value = None
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) is stop:
                return value
        if given:
            return given[0]
        if not operands:
            raise self._error(function.pos, f"{function.name} needs a value: write at least one behind it")
        return value

    def _call(self, function: Function, args: list[Value]) -> Value:
        callee = FUNCTIONS[function.name]
        if not callee.least <= len(args) <= callee.most:
            want = str(callee.least) if callee.least == callee.most else f"at least {callee.least}"
            raise self._error(function.pos, f"{function.name} takes {want} arguments, not {len(args)}: mend the call")
        self._charge(function.pos, sum(len(arg) for arg in args if isinstance(arg, (str, list, dict))))
        try:
            value = callee.call(args, self._today)
        except ValueError as error:
            raise self._error(function.pos, f"{function.name}: {error}") from error
        if isinstance(value, str):
            self._charge(function.pos, len(value))
        return value

    def _operand(self, operand: Operand, dot: Value) -> Value:
        self._step(operand.pos)
        match operand:
            case Dot():
                return dot
            case Literal(_, value):
                return value
            case Field(pos, names):
                return self._fields(pos, dot, names)
            case Variable(pos, slot, names):
                return self._fields(pos, self._slots[slot], names)
            case Chain(pos, of, names):
                return self._fields(pos, self._operand(of, dot), names)
            case Pipe(pos):
                self._enter(pos)
                value = self._pipe(operand, dot)
                self._depth -= 1
                return value
            case Function():
                return self._command(Command(operand.pos, (operand,)), dot, ())
            case Nil():
                return None

    def _fields(self, pos: int, value: Value, names: tuple[str, ...]) -> Value:
        for name in names:
            if not isinstance(value, dict):
                raise self._error(pos, f"{kind(value)} has no field .{name}: ask with if or with before")
            if isinstance(value, Struct) and name not in value:
                fields = ", ".join(f".{field}" for field in value)
                raise self._error(pos, f"there is no field .{name} here: there are {fields}")
            value = value.get(name)
        return value

    # ------------------------------------------------------------------ bounds

    def _show(self, pos: int, text: str) -> None:
        self._charge(pos, len(text))
        self.out.append(text)

    def _step(self, pos: int) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise self._error(pos, f"the template takes more than {MAX_STEPS} steps: use a simpler one, or fewer turns")

    def _charge(self, pos: int, characters: int) -> None:
        self._characters += characters
        if self._characters > MAX_CHARACTERS:
            raise self._error(pos, f"the template handles more than {MAX_CHARACTERS} characters: use fewer functions")

    def _enter(self, pos: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(pos, f"more than {MAX_DEPTH} levels inside each other: does a template include itself?")

    def _error(self, pos: int, what: str) -> TemplateError:
        return error_at(self._source, pos, what)
