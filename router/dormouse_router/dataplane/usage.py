"""Token counts, read from the tail of an answer that was passed on unparsed.

The engine writes `"usage":{...}` last, in a whole answer as in the last event of a stream that asked for it.
"""

import re
from dataclasses import dataclass

TAIL = 2048
"""Bytes of the end that are looked at."""

_PROMPT = re.compile(rb'"prompt_tokens"\s*:\s*(\d{1,12})')
_COMPLETION = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,12})')


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


def from_tail(tail: bytes) -> Usage | None:
    """The last usage object in `tail`, or None. A null usage (every chunk but the last has one) is none."""
    start = tail.rfind(b'"usage":')
    prompt = _PROMPT.search(tail, start) if start >= 0 else None
    if prompt is None:
        return None
    completion = _COMPLETION.search(tail, start)
    return Usage(int(prompt[1]), int(completion[1]) if completion else 0)
