"""Looking at a template without running it: the fields it speaks of, and the part of it that stands before one."""

from collections.abc import Iterator
from dataclasses import replace

from dormouse_router.dialects.ollama.gotemplate.nodes import (
    Action,
    Arm,
    Body,
    Branch,
    Chain,
    Field,
    Include,
    Operand,
    Pipe,
    Range,
    Statement,
    Variable,
)


def fields(body: Body) -> Iterator[str]:
    """The names of all fields in `body`."""
    for statement in body:
        match statement:
            case Action(_, pipe):
                yield from _of_pipe(pipe)
            case Include(_, _, pipe) if pipe is not None:
                yield from _of_pipe(pipe)
            case Branch(_, arms, otherwise):
                yield from _of_arms(arms, otherwise)
            case Range(_, arm, otherwise):
                yield from _of_arms((arm,), otherwise)


def _of_arms(arms: tuple[Arm, ...], otherwise: Body) -> Iterator[str]:
    for arm in arms:
        yield from _of_pipe(arm.pipe)
        yield from fields(arm.body)
    yield from fields(otherwise)


def _of_pipe(pipe: Pipe) -> Iterator[str]:
    for command in pipe.commands:
        for operand in command.args:
            yield from _of_operand(operand)


def _of_operand(operand: Operand) -> Iterator[str]:
    match operand:
        case Field(_, names) | Variable(_, _, names):
            yield from names
        case Chain(_, of, names):
            yield from names
            yield from _of_operand(of)
        case Pipe():
            yield from _of_pipe(operand)


def _names(pipe: Pipe, field: str) -> bool:
    """Whether `pipe` asks its dot for `field`: Ollama does not cut at `$.Response`."""
    operands = (operand for command in pipe.commands for operand in command.args)
    return any(
        field in operand.names if isinstance(operand, Field) else isinstance(operand, Pipe) and _names(operand, field)
        for operand in operands
    )


def up_to(body: Body, field: str) -> tuple[Body, bool]:
    """`body` without whatever stands behind the first action that speaks of `field`; whether there is one.

    Where it stands inside of a condition, what is behind it goes at every level; conditions themselves are not looked
    at.
    """
    kept: list[Statement] = []
    for statement in body:
        found = False
        match statement:
            case Action(_, pipe):
                found = _names(pipe, field)
            case Branch(_, arms, otherwise):
                cut, rest, found = _cut(arms, otherwise, field)
                statement = replace(statement, arms=cut, otherwise=rest)
            case Range(_, arm, otherwise):
                cut, rest, found = _cut((arm,), otherwise, field)
                statement = replace(statement, arm=cut[0], otherwise=rest)
        kept.append(statement)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _cut(arms: tuple[Arm, ...], otherwise: Body, field: str) -> tuple[tuple[Arm, ...], Body, bool]:
    """Arms and else, where all after the first that speaks of `field` show nothing."""
    kept: list[Arm] = []
    found = False
    for arm in arms:
        body, here = ((), False) if found else up_to(arm.body, field)
        kept.append(replace(arm, body=body))
        found = found or here
    if found:
        return tuple(kept), (), True
    rest, found = up_to(otherwise, field)
    return tuple(kept), rest, found
