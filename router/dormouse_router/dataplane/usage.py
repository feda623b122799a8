"""Token counts, read from the end of an answer that was passed on unparsed.

An engine writes `"usage":{...}` last, in a whole answer as in the last event of a stream that asked for it; asked for
its running usage it does so in every event, so that the end of a stream that was given up tells it too. A few answers
(rerank) have it first.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

LIKELY, TAIL = 256, 2048
"""Bytes of the end that are looked at, at first and then."""
HEAD = 4096
"""Bytes of the beginning, where the end has none."""
LATEST = 8
"""Pieces of an answer that are remembered: its usage is in the last ones, however the network cut them."""

_TOKENS = re.compile(rb'"(prompt|completion|cached)_tokens"\s*:\s*(\d{1,12})')


class Tokens(NamedTuple):
    """What a call took. `cached`: of the prompt, those that the engine had kept from another call."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0


NOTHING = Tokens()


def in_pieces(pieces: Sequence[bytes]) -> Tokens | None:
    """The tokens in an answer, of which these are the latest pieces, of one that is short all; None: it has none."""
    if not pieces:
        return None
    end = pieces[-1]
    for piece in reversed(pieces[:-1]):
        if len(end) >= TAIL:
            break
        end = piece + end
    return from_tail(end[-LIKELY:]) or from_tail(end[-TAIL:]) or from_tail(pieces[0][:HEAD])


def from_tail(tail: bytes) -> Tokens | None:
    """The tokens in the last usage object of `tail`, or None.

    A null usage (every chunk but the last has one) is none.
    """
    start = tail.rfind(b'"usage":')
    if start < 0:
        return None
    counts = dict(_TOKENS.findall(tail, start))
    prompt = counts.get(b"prompt")
    if prompt is None:
        return None
    amounts = (int(prompt), int(counts.get(b"completion", 0)), int(counts.get(b"cached", 0)))
    return tuple.__new__(Tokens, amounts)  # half of what Tokens(...) costs
