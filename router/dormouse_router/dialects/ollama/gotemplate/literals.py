"""Go's numbers, characters and strings as they are written in a template."""

import re

from dormouse_router.dialects.ollama.gotemplate.nodes import Value

_LARGEST = 2**63
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9a-fA-F]{2})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<o>[0-7]{3})|(?P<c>.))", re.DOTALL
)
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|[0-9]+)")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def number(text: str) -> Value:
    """An int of 64 bits, or a float. ValueError where it is neither."""
    plain = text.replace("_", "")
    if len(plain) > 100:
        raise ValueError("too long")
    if _NUMBER.fullmatch(plain):
        octal = re.fullmatch(r"[+-]?0[0-7]+", plain)
        whole = int(plain, 8 if octal else 0)
        if not -_LARGEST <= whole < _LARGEST:
            raise ValueError("too large")
        return whole
    if not _FLOAT.fullmatch(plain) or abs(value := float(plain)) == float("inf"):
        raise ValueError("not a number")
    return value


def string(text: str) -> str:
    """A string with its quotes. ValueError where an escape is none of Go's."""
    if text.startswith("`"):
        return text[1:-1].replace("\r", "")
    return _unescaped(text[1:-1])


def character(text: str) -> int:
    """A character in single quotes, as its number. ValueError where it is not one."""
    found = _unescaped(text[1:-1])
    if len(found) != 1:
        raise ValueError("not one character")
    return ord(found)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    for group, base in (("x", 16), ("u", 16), ("U", 16), ("o", 8)):
        if match[group]:
            code = int(match[group], base)
            if code > 0x10FFFF or 0xD800 <= code < 0xE000 or (group == "o" and code > 0xFF):
                raise ValueError("no such character")
            return chr(code)
    if match["c"] not in _ESCAPES:
        raise ValueError(f"unknown escape \\{match['c']}")
    return _ESCAPES[match["c"]]
