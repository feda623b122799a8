"""Token counts, read from the tail of an answer that was passed on unparsed.

The engine writes `"usage":{...}` last, in a whole answer as in the last event of a stream that asked for it.
"""

import re

LIKELY, TAIL = 256, 2048
"""Bytes of the end that are looked at, at first and then."""

_TOKENS = re.compile(rb'"(prompt|completion)_tokens"\s*:\s*(\d{1,12})')


def from_tail(tail: bytes) -> tuple[int, int] | None:
    """Tokens of prompt and completion in the last usage object of `tail`, or None.

    A null usage (every chunk but the last has one) is none.
    """
    start = tail.rfind(b'"usage":')
    if start < 0:
        return None
    counts = dict(_TOKENS.findall(tail, start))
    prompt = counts.get(b"prompt")
    return None if prompt is None else (int(prompt), int(counts.get(b"completion", 0)))
