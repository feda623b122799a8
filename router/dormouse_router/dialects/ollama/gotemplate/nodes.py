"""What a template is made of once it is read, and the one error of this package. No behaviour.

Positions are offsets into the source. A variable is known by its slot: Go's scopes are lexical, so the parser knows
where each value lies, and nothing is looked up by name when a template runs.
"""

from dataclasses import dataclass

Value = object
"""None, bool, int, float, str, list or dict (of such), and values.Struct. Nothing else is ever looked into."""


class TemplateError(Exception):
    """What is wrong with a template, where, and how to mend it: a sentence for whoever wrote it."""


def error_at(source: str, pos: int, what: str) -> TemplateError:
    """`what`, with the line and the column (both from 1) of `pos`."""
    line = source.count("\n", 0, pos) + 1
    column = pos - (source.rfind("\n", 0, pos) + 1) + 1
    return TemplateError(f"template: line {line}, column {column}: {what}")


@dataclass(frozen=True, slots=True)
class Node:
    pos: int


@dataclass(frozen=True, slots=True)
class Dot(Node):
    """`.`"""


@dataclass(frozen=True, slots=True)
class Literal(Node):
    value: Value


@dataclass(frozen=True, slots=True)
class Nil(Node):
    """`nil`, which is no command by itself."""


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`.A.B`"""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variable(Node):
    """`$x.A.B`; slot 0 is `$`."""

    slot: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain(Node):
    """`(...).A.B`"""

    of: "Operand"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Function(Node):
    name: str


@dataclass(frozen=True, slots=True)
class Command(Node):
    """A value, or a function and its arguments."""

    args: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Pipe(Node):
    """`$x := a | b c`: each command is given the value of the one before as its last argument."""

    slots: tuple[int, ...]
    """Where the value is kept."""
    commands: tuple[Command, ...]


Operand = Dot | Literal | Nil | Field | Variable | Chain | Function | Pipe


@dataclass(frozen=True, slots=True)
class Text(Node):
    text: str


@dataclass(frozen=True, slots=True)
class Action(Node):
    """`{{ ... }}`: shown, unless it only sets a variable."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Arm:
    """One condition, and what is shown where it holds."""

    pipe: Pipe
    body: "Body"


@dataclass(frozen=True, slots=True)
class Branch(Node):
    """`if` or `with`, its `else if`s (`else with`s) and its `else`."""

    arms: tuple[Arm, ...]
    otherwise: "Body"
    rebinds: bool
    """`with`: the value is the dot of the arm."""


@dataclass(frozen=True, slots=True)
class Range(Node):
    arm: Arm
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Break(Node):
    pass


@dataclass(frozen=True, slots=True)
class Continue(Node):
    pass


@dataclass(frozen=True, slots=True)
class Include(Node):
    """`{{ template "name" . }}`"""

    name: str
    pipe: Pipe | None


Statement = Text | Action | Branch | Range | Break | Continue | Include
Body = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Definition:
    """A template, or one of those it defines: its body, and how many slots that needs."""

    body: Body
    slots: int
