"""Go's printf, as far as texts for a model need it."""

import json
import re
from collections.abc import Sequence

from dormouse_router.dialects.ollama.gotemplate.nodes import Value
from dormouse_router.dialects.ollama.gotemplate.values import Shown, fraction, kind, shown

MAX_WIDTH = 1000
_VERB = re.compile(r"%(?P<flags>[-+ 0]*)(?P<width>\d*)(?:\.(?P<precision>\d*))?(?P<verb>.?)", re.DOTALL)
_TAKES: dict[str, tuple[type, ...]] = {
    "s": (str, list, dict),
    "q": (str, list),
    "d": (int,),
    "c": (int,),
    "x": (int, str),
    "X": (int, str),
    "o": (int,),
    "b": (int,),
    "f": (float,),
    "e": (float,),
    "g": (float,),
    "t": (bool,),
}


def printf(form: str, values: Sequence[Value]) -> str:
    """`form` with `values`. ValueError, in words, where they do not fit each other."""
    left = list(values)

    def verb(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        if match["verb"] not in _TAKES and match["verb"] != "v":
            raise ValueError(f"{match[0]!r} is not understood: use %v, %s, %q, %d, %x, %c, %t, %f, %g or %%")
        if not left:
            raise ValueError(f"there is no value for {match[0]!r}: give as many values as the text has verbs")
        return _formatted(match, left.pop(0))

    text = _VERB.sub(verb, form)
    if left:
        raise ValueError("there are more values than verbs in the text: remove some, or add a %v")
    return text


def _formatted(match: re.Match[str], value: Value) -> str:
    width, precision = int(match["width"] or 0), match["precision"]
    limit = None if precision is None else int(precision or 0)
    if max(width, limit or 0) > MAX_WIDTH:
        raise ValueError(f"{match[0]!r} is wider than {MAX_WIDTH}: use less")
    verb, flags = match["verb"], match["flags"]
    takes = _TAKES.get(verb)
    if takes is not None and (not isinstance(value, takes) or (isinstance(value, bool) and verb != "t")):
        raise ValueError(f"{match[0]!r} cannot show {kind(value)}: use %v")
    text = _number(verb, flags, limit, value)
    if text is None:
        text = _text(verb, limit, value)
    fill = "0" if "0" in flags and "-" not in flags and isinstance(value, (int, float)) else " "
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if fill == "0" else text.rjust(width)


def _number(verb: str, flags: str, limit: int | None, value: Value) -> str | None:
    """A number as `verb` wants it; None where `value` is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or verb == "c":
        return None
    if isinstance(value, int):
        text = format(value, "d" if verb == "v" else verb)
    elif verb in "fe":
        text = format(value, f".{6 if limit is None else limit}{verb}")
    else:
        text = fraction(value) if limit is None else format(value, f".{limit}g")
    sign = next((sign for sign in "+ " if sign in flags), "")
    return text if text.startswith(("-", "+")) else sign + text


def _text(verb: str, limit: int | None, value: Value) -> str:
    if verb == "q":
        return f"[{' '.join(map(_quoted, value))}]" if isinstance(value, list) else _quoted(value)
    if verb == "c" and isinstance(value, int):
        return chr(value) if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else "\ufffd"
    if verb in "xX" and isinstance(value, str):
        return value.encode(errors="replace").hex() if verb == "x" else value.encode(errors="replace").hex().upper()
    text = shown(value)
    return text if limit is None or not isinstance(value, (str, Shown)) else text[:limit]


def _quoted(value: Value) -> str:
    return json.dumps(shown(value), ensure_ascii=False)
