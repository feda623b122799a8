"""Words of others (hubs, engines, logs, compromised pods), made fit for a condition, an Event or a log line. Pure.

The standard library alone: `text` has the fields of pydantic's models that hold such words.
"""

import unicodedata

HARMFUL = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal obeys or that change how the rest reads: control characters (escape sequences,
line breaks), marks that turn the writing direction, lone surrogates, what is assigned to nobody, line separators."""
ELLIPSIS = "..."


def plain(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters: what is harmful becomes a space, runs of spaces one."""
    # what is cut off need not be looked at: a hostile text may have megabytes
    clear = "".join(" " if unicodedata.category(c) in HARMFUL else c for c in text[: 4 * limit])
    line = " ".join(clear.split())
    return line if len(line) <= limit else line[: limit - len(ELLIPSIS)] + ELLIPSIS
