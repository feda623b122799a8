"""A template's source as tokens: texts with their white space trimmed, and what stands between the braces."""

import re
from dataclasses import dataclass
from enum import StrEnum

from dormouse_router.dialects.ollama.gotemplate.nodes import error_at

LEFT, RIGHT = "{{", "}}"
_SPACE = " \t\r\n"
_ENDS = re.compile(r"[ \t\r\n]-\}\}|\}\}")
_OPENS = re.compile(r"\{\{(-(?=[ \t\r\n]))?")


class Kind(StrEnum):
    TEXT = "text"
    OPEN = "{{"
    CLOSE = "}}"
    SPACE = "a space"
    STRING = "a string"
    NUMBER = "a number"
    CHARACTER = "a character"
    FIELD = "a field"
    VARIABLE = "a variable"
    DOT = "."
    WORD = "a word"
    SIGN = "a sign"
    END = "the end of the template"


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    pos: int

    @property
    def shown(self) -> str:
        """For messages."""
        return self.kind.value if self.kind in (Kind.END, Kind.SPACE, Kind.CLOSE) else f'"{self.text[:40]}"'


_TOKENS = re.compile(
    r"""
    (?P<space>[ \t\r\n]+?(?=[ \t\r\n]-\}\})|[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*"|`[^`]*`)
    |(?P<character>'(?:[^'\\\n]|\\[^\n])+')
    |(?P<number>[+-]?\.?[0-9](?:(?<=[eEpP])[+-]|[0-9A-Za-z_.])*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<variable>\$\w*)
    |(?P<dot>\.)
    |(?P<word>[^\W\d]\w*)
    |(?P<sign>:=|[=|(),])
    """,
    re.VERBOSE,
)
_KINDS = {
    "space": Kind.SPACE,
    "string": Kind.STRING,
    "character": Kind.CHARACTER,
    "number": Kind.NUMBER,
    "field": Kind.FIELD,
    "variable": Kind.VARIABLE,
    "dot": Kind.DOT,
    "word": Kind.WORD,
    "sign": Kind.SIGN,
}


def tokens(source: str) -> list[Token]:
    """All of `source`, the last token being END. TemplateError where a brace, a comment or a string is not closed."""
    found: list[Token] = []
    pos, trims = 0, False
    while True:
        opened = _OPENS.search(source, pos)
        text = source[pos : opened.start() if opened else len(source)]
        if trims:
            text = text.lstrip(_SPACE)
        if opened and opened[1]:
            text = text.rstrip(_SPACE)
        if text:
            found.append(Token(Kind.TEXT, text, pos))
        if opened is None:
            found.append(Token(Kind.END, "", len(source)))
            return found
        pos, trims = _comment(source, opened) or _action(source, opened, found)


def _comment(source: str, opened: re.Match[str]) -> tuple[int, bool] | None:
    """Where a comment ends, if it is one, and whether the text after it is trimmed."""
    start = opened.end() + (1 if opened[1] else 0)
    if not source.startswith("/*", start):
        return None
    end = source.find("*/", start)
    if end < 0:
        raise error_at(source, opened.start(), "a comment is not closed: end it with */}}")
    closed = _ENDS.match(source, end + 2)
    if closed is None:
        raise error_at(source, end, "a comment stands alone in its braces: put }} (or a space and -}}) right behind */")
    return closed.end(), closed[0] != RIGHT


def _action(source: str, opened: re.Match[str], found: list[Token]) -> tuple[int, bool]:
    """Append what stands between two braces; where it ends, and whether the text after it is trimmed."""
    found.append(Token(Kind.OPEN, LEFT, opened.start()))
    pos = opened.end()
    while pos < len(source):
        if closed := _ENDS.match(source, pos):
            found.append(Token(Kind.CLOSE, RIGHT, pos))
            return closed.end(), closed[0] != RIGHT
        token = _TOKENS.match(source, pos)
        if token is None:
            raise _misfit(source, pos)
        found.append(Token(_KINDS[token.lastgroup or ""], token[0], pos))
        pos = token.end()
    raise error_at(source, opened.start(), "an action is not closed: end it with }}")


def _misfit(source: str, pos: int) -> Exception:
    character = source[pos]
    if character in "\"`'":
        return error_at(source, pos, f"a text that begins with {character} is not closed: end it with {character}")
    return error_at(source, pos, f"{character!r} has no meaning inside {{{{ }}}}: remove it, or put it into quotes")
