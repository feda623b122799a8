"""The functions a template may call: those of Go that build text, and Ollama's own.

Each takes values and gives one, or ValueError in words. `and` and `or` look at no more than they need, so they are the
executor's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dormouse_router.dialects.ollama.gotemplate.formats import printf
from dormouse_router.dialects.ollama.gotemplate.nodes import Value
from dormouse_router.dialects.ollama.gotemplate.values import Struct, kind, shown, to_json, truth

LAZY = ("and", "or")
ANY = 1000
"""Arguments that a function may have which takes any number."""


@dataclass(frozen=True, slots=True)
class Callee:
    """A function, and how many arguments it takes."""

    call: Callable[[Sequence[Value], date], Value]
    least: int
    most: int


def _comparable(left: Value, right: Value) -> tuple[Any, Any]:
    """Both, if they are of one kind that has an order or at least equality."""
    for value in (left, right):
        if isinstance(value, (list, dict)):
            raise ValueError(f"{kind(value)} cannot be compared: compare its len, or one of its fields")
    numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    same = isinstance(left, bool) == isinstance(right, bool) and (numbers or type(left) is type(right))
    if not same and left is not None and right is not None:
        raise ValueError(f"{kind(left)} cannot be compared with {kind(right)}: compare values of one kind")
    return left, right


def _equal(left: Value, right: Value) -> bool:
    if left is None or right is None:
        return left is right
    a, b = _comparable(left, right)
    return bool(a == b)


def _less(left: Value, right: Value) -> bool:
    a, b = _comparable(left, right)
    if a is None or b is None or isinstance(a, bool):
        raise ValueError(f"{kind(a if a is None or isinstance(a, bool) else b)} has no order: compare it with eq or ne")
    if isinstance(a, str):
        return bool(a.encode(errors="replace") < b.encode(errors="replace"))  # by bytes, as Go
    return bool(a < b)


def _length(value: Value) -> int:
    if isinstance(value, str):
        return len(value.encode(errors="replace"))
    if isinstance(value, (list, dict)) and not isinstance(value, Struct):
        return len(value)
    raise ValueError(f"{kind(value)} has no length: give len a text, a list or a map")


def _place(value: Value, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{kind(value)} is no place in a list or a text: give a whole number")
    if not 0 <= value <= most:
        raise ValueError(f"place {value} is outside: there are {most}")
    return value


def _index(args: Sequence[Value]) -> Value:
    value = args[0]
    for key in args[1:]:
        if isinstance(value, dict) and not isinstance(value, Struct):
            if not isinstance(key, str):
                raise ValueError(f"{kind(key)} is no key of a map: give a text")
            value = value.get(key)
        elif isinstance(value, (list, str)):
            members = value if isinstance(value, list) else value.encode(errors="replace")
            value = members[_place(key, len(members) - 1)]
        else:
            raise ValueError(f"{kind(value)} has no members: give index a list, a map or a text")
    return value


def _slice(args: Sequence[Value]) -> Value:
    value, places = args[0], args[1:]
    if isinstance(value, str) and len(places) < 3:
        raw = value.encode(errors="replace")
        start, end = _span(places, len(raw))
        return raw[start:end].decode(errors="replace")
    if isinstance(value, list):
        start, end = _span(places, len(value))
        return value[start:end]
    raise ValueError(f"{kind(value)} cannot be sliced with {len(places)} numbers: give slice a list or a text, and two")


def _span(places: Sequence[Value], most: int) -> tuple[int, int]:
    start, end = _place(places[0] if places else 0, most), _place(places[1] if len(places) > 1 else most, most)
    if len(places) > 2:
        _place(places[2], most)
    if start > end:
        raise ValueError(f"a slice from {start} to {end} ends before it begins: swap the numbers")
    return start, end


def _printed(args: Sequence[Value]) -> str:
    """Go puts a space between two that are no texts."""
    out = ""
    for number, value in enumerate(args):
        if number and not isinstance(value, str) and not isinstance(args[number - 1], str):
            out += " "
        out += shown(value)
    return out


def _formatted(args: Sequence[Value]) -> str:
    form, *values = args
    if not isinstance(form, str):
        raise ValueError(f"printf begins with a text, not with {kind(form)}: write one first")
    return printf(form, values)


def _day(args: Sequence[Value], today: date, back: int) -> str:
    if not all(isinstance(value, str) for value in args):
        raise ValueError("a form of a date is a text: leave it out, for it is always 2006-01-02")
    return (today - timedelta(days=back)).isoformat()


FUNCTIONS: dict[str, Callee] = {
    "not": Callee(lambda args, _: not truth(args[0]), 1, 1),
    "eq": Callee(lambda args, _: any(_equal(args[0], other) for other in args[1:]), 2, ANY),
    "ne": Callee(lambda args, _: not _equal(args[0], args[1]), 2, 2),
    "lt": Callee(lambda args, _: _less(args[0], args[1]), 2, 2),
    "le": Callee(lambda args, _: not _less(args[1], args[0]), 2, 2),
    "gt": Callee(lambda args, _: _less(args[1], args[0]), 2, 2),
    "ge": Callee(lambda args, _: not _less(args[0], args[1]), 2, 2),
    "len": Callee(lambda args, _: _length(args[0]), 1, 1),
    "index": Callee(lambda args, _: _index(args), 1, ANY),
    "slice": Callee(lambda args, _: _slice(args), 1, 4),
    "print": Callee(lambda args, _: _printed(args), 0, ANY),
    "println": Callee(lambda args, _: " ".join(map(shown, args)) + "\n", 0, ANY),
    "printf": Callee(lambda args, _: _formatted(args), 1, ANY),
    "json": Callee(lambda args, _: to_json(args[0]), 1, 1),
    "currentDate": Callee(lambda args, today: _day(args, today, 0), 0, ANY),
    "yesterdayDate": Callee(lambda args, today: _day(args, today, 1), 0, ANY),
    "toTypeScriptType": Callee(lambda args, _: "any", 1, 1),
}
NAMES = frozenset((*FUNCTIONS, *LAZY))
