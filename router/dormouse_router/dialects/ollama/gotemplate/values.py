"""What values mean in Go: what is true, how each is shown, and how it is written as JSON."""

import math
from decimal import Decimal

import msgspec

from dormouse_router.dialects.ollama.gotemplate.nodes import Value

_SHOWN, _IN_JSON = (1e-4, 1e6), (1e-6, 1e21)
"""Between these, Go writes a float without an exponent."""
_JSON_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
_ESCAPED = str.maketrans(_JSON_ESCAPES)


class Struct(dict[str, Value]):
    """A value with fixed fields: one that it lacks is a mistake, where a map's is nothing. Always true."""


class Shown(dict[str, Value]):
    """A map that is shown as JSON."""


def truth(value: Value) -> bool:
    """Nothing, false, 0 and what is empty are false."""
    return isinstance(value, Struct) or bool(value)


def kind(value: Value) -> str:
    """For messages."""
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "a number", float: "a fraction", str: "a text", list: "a list"}
    return names.get(type(value), "an object" if isinstance(value, Struct) else "a map")


def shown(value: Value) -> str:
    """As an action shows it inside of something else."""
    match value:
        case None:
            return "<nil>"
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case float():
            return fraction(value)
        case list():
            return f"[{' '.join(map(shown, value))}]"
        case Shown():
            return to_json(value)
        case Struct():
            return f"{{{' '.join(map(shown, value.values()))}}}"
        case dict():
            return f"map[{' '.join(f'{key}:{shown(value[key])}' for key in sorted(value))}]"
    return str(value)


def printed(value: Value) -> str:
    """As an action shows it."""
    return "<no value>" if value is None else shown(value)


def fraction(value: float) -> str:
    """The shortest digits that mean this number, with an exponent where it is very large or small."""
    if value != value or value in (float("inf"), float("-inf")):
        return {"nan": "NaN", "inf": "+Inf", "-inf": "-Inf"}[str(value)]
    if value and not _SHOWN[0] <= abs(value) < _SHOWN[1]:
        sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
        first, *rest = map(str, digits)
        mantissa = f"{first}.{''.join(rest)}" if rest else first
        return f"{'-' * sign}{mantissa}e{int(exponent) + len(rest):+03d}"
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def to_json(value: Value) -> str:
    """Compact, maps sorted, and with what means something in HTML escaped, as Go does it."""
    return msgspec.json.encode(_plain(value)).decode().translate(_ESCAPED)


def _json_number(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    if value and not _IN_JSON[0] <= abs(value) < _IN_JSON[1]:
        return repr(value).replace(".0e", "e").replace("e-0", "e-")
    return format(Decimal(repr(value)), "f").removesuffix(".0")


def _plain(value: Value) -> Value:
    match value:
        case Struct():
            return {name: _plain(each) for name, each in value.items()}
        case dict():
            return {key: _plain(value[key]) for key in sorted(value)}
        case list():
            return [_plain(each) for each in value]
        case float():
            return msgspec.Raw(_json_number(value).encode())
    return value
